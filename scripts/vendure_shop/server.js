// A Vendure shop in memory with examples/vendure/tellonce-plugin.js, for scripts/try_examples.py.

const {
  DefaultLogger,
  JobQueueService,
  LogLevel,
  bootstrap,
  dummyPaymentHandler,
  manualFulfillmentHandler,
} = require('@vendure/core');
const { TelloncePlugin } = require('./tellonce-plugin.js');

const port = Number(process.env.SHOP_PORT);

bootstrap({
  apiOptions: { port, hostname: '127.0.0.1', adminApiPath: 'admin-api', shopApiPath: 'shop-api' },
  authOptions: {
    tokenMethod: ['bearer'],
    superadminCredentials: { identifier: 'superadmin', password: 'superadmin' },
    cookieOptions: { secret: 'test' },
    requireVerification: false,
  },
  dbConnectionOptions: { type: 'sqljs', synchronize: true, logging: false },
  paymentOptions: { paymentMethodHandlers: [dummyPaymentHandler] },
  shippingOptions: { fulfillmentHandlers: [manualFulfillmentHandler] },
  plugins: [TelloncePlugin],
  logger: new DefaultLogger({ level: LogLevel.Info }),
})
  .then((app) => app.get(JobQueueService).start())
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
