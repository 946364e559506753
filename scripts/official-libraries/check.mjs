// Signs and verifies webhooks with the vendors' own libraries, for the story
// tests/stories/official_libraries.rs. Reads one JSON document from the standard input and writes
// one to the standard output.
//
// In:  { bodies: [text], secrets: { system: text }, hubspot_url, now_ms,
//        signed: [{ system, headers, body, url? }] }
// Out: { posts: [{ system, headers, body }], verified: { system: count }, refused: { system: count } }
//
// `posts` are the bodies as the libraries sign them. `signed` is what tellonce signed: the library
// of the system must verify each, and none of its changed copies. Square and Webflow publish code
// that verifies, and none that signs.
import { Readable } from "node:stream";
import "@shopify/shopify-api/adapters/node";
import { LogSeverity, shopifyApi } from "@shopify/shopify-api";
import { HashFormat, createSHA256HMAC } from "@shopify/shopify-api/runtime";
import hubspot from "@hubspot/api-client";
import { WebhooksHelper } from "square";
import { Webhook as StandardWebhook } from "standardwebhooks";
import { Webhook as SvixWebhook } from "svix";
import { WebflowClient } from "webflow-api";

const { bodies, secrets, hubspot_url, now_ms, signed } = JSON.parse(await text(process.stdin));
const webflow = new WebflowClient({ accessToken: "unused" });
const shopify = shopifyApi({
  apiKey: "unused",
  apiSecretKey: secrets.shopify,
  hostName: "story.example",
  apiVersion: "2026-10",
  isEmbeddedApp: false,
  logger: { level: LogSeverity.Error, log: () => {} },
});

async function text(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

const lower = (headers) => Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));

// How each library signs a body: the headers that prove it.
const signers = {
  shopify: async (body) => ({
    "X-Shopify-Hmac-Sha256": await createSHA256HMAC(secrets.shopify, body, HashFormat.Base64),
  }),
  hubspot: async (body) => ({
    "X-HubSpot-Request-Timestamp": String(now_ms),
    "X-HubSpot-Signature-v3": hubspot.Signature.getSignature("POST", "v3", {
      clientSecret: secrets.hubspot,
      requestBody: body,
      url: hubspot_url,
      timestamp: now_ms,
    }),
  }),
  standardwebhooks: async (body, id) => standard(StandardWebhook, "webhook", secrets.standardwebhooks, body, id),
  svix: async (body, id) => standard(SvixWebhook, "svix", secrets.standardwebhooks, body, id),
};

function standard(Webhook, prefix, secret, body, id) {
  const signature = new Webhook(secret).sign(id, new Date(now_ms), body);
  const seconds = String(Math.floor(now_ms / 1000));
  return { [`${prefix}-id`]: id, [`${prefix}-timestamp`]: seconds, [`${prefix}-signature`]: signature };
}

// Whether each library verifies a signed body.
const verifiers = {
  shopify: async ({ headers, body }) => {
    const rawRequest = Object.assign(Readable.from([body]), { headers: lower(headers), method: "POST", url: "/" });
    const rawResponse = { setHeader() {}, writeHead() {}, end() {} };
    return (await shopify.webhooks.validate({ rawBody: body, rawRequest, rawResponse })).valid;
  },
  hubspot: async ({ headers, body, url }) =>
    hubspot.Signature.isValid({
      method: "POST",
      signatureVersion: "v3",
      signature: lower(headers)["x-hubspot-signature-v3"],
      clientSecret: secrets.hubspot,
      requestBody: body,
      url,
      timestamp: Number(lower(headers)["x-hubspot-request-timestamp"]),
    }),
  square: async ({ headers, body, url }) =>
    WebhooksHelper.verifySignature({
      requestBody: body,
      signatureHeader: lower(headers)["x-square-hmacsha256-signature"],
      signatureKey: secrets.square,
      notificationUrl: url,
    }),
  webflow: async ({ headers, body }) =>
    webflow.webhooks.verifySignature({ headers: lower(headers), body, secret: secrets.webflow }),
  standardwebhooks: async (post) => verified(StandardWebhook, secrets.standardwebhooks, post),
  svix: async (post) => verified(SvixWebhook, secrets.standardwebhooks, post),
  outgoing: async (post) => verified(StandardWebhook, secrets.outgoing, post),
};

function verified(Webhook, secret, { headers, body }) {
  try {
    new Webhook(secret).verify(body, lower(headers));
    return true;
  } catch {
    return false;
  }
}

// Copies of a body with one character replaced, at eight places.
function* changedCopies(body) {
  const characters = [...body];
  for (let at = 0; at < characters.length; at += Math.max(1, Math.floor(characters.length / 8))) {
    const changed = [...characters];
    changed[at] = changed[at] === "~" ? "!" : "~";
    yield changed.join("");
  }
}

const posts = [];
for (const [system, sign] of Object.entries(signers)) {
  for (const [index, body] of bodies.entries()) {
    posts.push({ system, body, headers: await sign(body, `official-${system}-${index}`) });
  }
}
const counts = { verified: {}, refused: {} };
for (const post of signed) {
  const verify = verifiers[post.system];
  if (!(await verify(post))) throw new Error(`the library of ${post.system} does not verify: ${post.body}`);
  counts.verified[post.system] = (counts.verified[post.system] ?? 0) + 1;
  for (const body of changedCopies(post.body)) {
    if (await verify({ ...post, body })) throw new Error(`the library of ${post.system} verifies a changed body`);
    counts.refused[post.system] = (counts.refused[post.system] ?? 0) + 1;
  }
}
process.stdout.write(JSON.stringify({ posts, ...counts }));
