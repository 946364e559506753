// Posts the states of orders and parcels to tellonce, signed as Standard Webhooks specifies.
//
// Add TelloncePlugin to `plugins` of vendure-config, and set TELLONCE_URL and TELLONCE_SECRET. A post
// is a job: Vendure's job queue repeats it with the same id until tellonce has stored it.

const {
  EntityHydrator,
  EventBus,
  FulfillmentStateTransitionEvent,
  JobQueueService,
  OrderStateTransitionEvent,
  PluginCommonModule,
  VendurePlugin,
} = require('@vendure/core');
const { Webhook } = require('standardwebhooks');

// The states that tellonce hears of. `events` in client.toml says which of them send a message.
const ORDER_STATES = ['PaymentAuthorized', 'PaymentSettled', 'Cancelled'];
const PARCEL_STATES = ['Shipped', 'Delivered'];
// With the default pauses of Vendure's job queue, a post is repeated for hours.
const RETRIES = 30;

class TelloncePlugin {
  constructor(eventBus, hydrator, jobQueueService) {
    Object.assign(this, { eventBus, hydrator, jobQueueService });
  }

  async onApplicationBootstrap() {
    this.queue = await this.jobQueueService.createQueue({ name: 'tellonce', process: ({ data }) => post(data) });
    this.eventBus.ofType(OrderStateTransitionEvent).subscribe(({ ctx, order, toState }) => {
      if (ORDER_STATES.includes(toState)) {
        report(this.addOrder(ctx, order, `order.${toState}`, `vendure_${order.code}_${toState}`));
      }
    });
    this.eventBus.ofType(FulfillmentStateTransitionEvent).subscribe(({ ctx, fulfillment, toState }) => {
      if (PARCEL_STATES.includes(toState)) {
        report(this.addParcel(ctx, fulfillment, toState));
      }
    });
  }

  async addParcel(ctx, fulfillment, state) {
    await this.hydrator.hydrate(ctx, fulfillment, { relations: ['orders'] });
    for (const order of fulfillment.orders) {
      const parcel = { id: fulfillment.id, tracking_code: fulfillment.trackingCode || undefined, carrier: fulfillment.method };
      await this.addOrder(ctx, order, `parcel.${state}`, `vendure_${order.code}_${fulfillment.id}_${state}`, parcel);
    }
  }

  // The id is made of what happened, so that a repeated event is the same delivery.
  async addOrder(ctx, order, type, id, parcel) {
    await this.hydrator.hydrate(ctx, order, { relations: ['customer', 'surcharges', 'lines', 'shippingLines'] });
    const { customer, shippingAddress } = order;
    const data = {
      order: {
        code: order.code,
        language: ctx.languageCode,
        total: (order.totalWithTax / 100).toFixed(2),
        currency: order.currencyCode,
        phone: customer?.phoneNumber || shippingAddress?.phoneNumber || undefined,
        country: shippingAddress?.countryCode || undefined,
        name: customer?.firstName,
      },
      parcel,
    };
    const body = JSON.stringify({ type, timestamp: new Date().toISOString(), data });
    await this.queue.add({ id, body }, { retries: RETRIES });
  }
}

async function post({ id, body }) {
  const now = new Date();
  const response = await fetch(process.env.TELLONCE_URL, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
      'webhook-signature': new Webhook(process.env.TELLONCE_SECRET).sign(id, now, body),
    },
    body,
    signal: AbortSignal.timeout(10_000),
  });
  if (!response.ok) {
    throw new Error(`tellonce answered ${response.status} to ${id}: ${await response.text()}`);
  }
}

function report(added) {
  added.catch((error) => console.error(`tellonce: could not queue an event: ${error.message}`));
}

// In TypeScript, @VendurePlugin and the types of the constructor say the same.
Reflect.defineMetadata('design:paramtypes', [EventBus, EntityHydrator, JobQueueService], TelloncePlugin);
VendurePlugin({ imports: [PluginCommonModule], compatibility: '^3.0.0' })(TelloncePlugin);

module.exports = { TelloncePlugin };
