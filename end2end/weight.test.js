// What a first visit of each page transfers, compressed: scripts and WebAssembly, style, and everything.

import { expect, test } from './support/test.js';

const MOST_CODE = 200_000;

test('scripts and WebAssembly by page', async ({ browser, demo, customer }) => {
  const rows = [];
  for (const address of ['/', '/pricing', '/pricing/calculator', '/terms', '/sign-up', '/sign-in', '/overview', '/tasks', '/tasks/prd', customer.run.run, '/credits', '/keys', '/limits', '/usage']) {
    const isPublic = ['/', '/pricing', '/pricing/calculator', '/terms', '/sign-up', '/sign-in'].includes(address);
    const context = await browser.newContext({ baseURL: demo, storageState: isPublic ? undefined : customer.state });
    const sizes = await transferred(await context.newPage(), address);
    await context.close();
    rows.push({ page: address.replace(customer.run.id, '…'), ...sizes });
    if (isPublic) expect(sizes['js + wasm'], `${address} needs no code`).toBe(0);
    expect(sizes['js + wasm'], `code of ${address}`).toBeLessThanOrEqual(MOST_CODE);
  }
  console.log('Bytes transferred on a first visit, as compressed by the server:');
  console.table(rows);
});

async function transferred(page, address) {
  const session = await page.context().newCDPSession(page);
  await session.send('Network.enable');
  const types = new Map();
  const sizes = { 'js + wasm': 0, css: 0, all: 0 };
  session.on('Network.responseReceived', ({ requestId, response }) => types.set(requestId, response.mimeType));
  session.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
    const type = types.get(requestId) ?? '';
    sizes.all += encodedDataLength;
    if (/javascript|wasm/.test(type)) sizes['js + wasm'] += encodedDataLength;
    if (/css/.test(type)) sizes.css += encodedDataLength;
  });
  await page.goto(address, { waitUntil: 'load' });
  await page.waitForLoadState('networkidle', { timeout: 5_000 }).catch(() => {});
  return sizes;
}
