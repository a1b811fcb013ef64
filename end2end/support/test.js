// `test` for every browser test: knows the demo of its project, and fails when a page logs an error nobody expected.

import { test as base, expect } from '@playwright/test';
import { buyPack, newPerson, payWithCredits, runTask, signUp } from './person.js';

export { expect };

// Where the newest line of the statement opens.
async function firstLine(page) {
  await page.goto('/credits/statement');
  return page.locator('a[href^="/credits/statement/line/"]').first().getAttribute('href');
}

// Adds a webhook and sends it a test; the address of its page.
async function addWebhook(page, sandbox) {
  await page.goto('/settings/webhooks');
  await page.getByLabel('Address').fill(`${sandbox}/receiver`);
  await page.getByLabel('Label').fill('Receiver');
  await page.getByRole('button', { name: 'Add the webhook' }).click();
  await page.goto('/settings/webhooks');
  const address = await page.locator('a[href^="/settings/webhooks/"]').first().getAttribute('href');
  await page.goto(address);
  await page.getByRole('button', { name: 'Send a test' }).click();
  await expect(page.getByText('The test is on its way')).toBeVisible();
  return address;
}

export const test = base.extend({
  database: ['sqlite', { option: true, scope: 'worker' }],

  // Where the sandbox of this project's demo is.
  sandbox: [
    async ({ database }, use) => use(process.env[`${database.toUpperCase()}_SANDBOX`]),
    { scope: 'worker' },
  ],
  demo: [async ({ database }, use) => use(process.env[`${database.toUpperCase()}_DEMO`]), { scope: 'worker' }],
  baseURL: async ({ demo }, use) => use(demo),

  // Somebody with credit and one finished run, made once for all tests that only look at pages.
  customer: [
    async ({ browser, demo, sandbox }, use) => {
      const context = await browser.newContext({ baseURL: demo });
      const page = await context.newPage();
      await signUp(page, sandbox, newPerson('customer'));
      const bought = await buyPack(page, '$10');
      await payWithCredits(page);
      const run = await runTask(page, 'PRD');
      const more = [bought, run.run, run.record, await firstLine(page), await addWebhook(page, sandbox)];
      const state = await context.storageState();
      await context.close();
      // `pages`: those of their own, each with something on it.
      await use({ state, bought, run, pages: more });
    },
    { scope: 'worker', timeout: 120_000 },
  ],

  // Somebody who has nothing yet.
  newcomer: [
    async ({ browser, demo, sandbox }, use) => {
      const context = await browser.newContext({ baseURL: demo });
      const page = await context.newPage();
      await signUp(page, sandbox, newPerson('newcomer'));
      const state = await context.storageState();
      await context.close();
      await use({ state });
    },
    { scope: 'worker', timeout: 60_000 },
  ],

  // Script errors and refused resources on our own pages. A form that was refused answers with 4xx; that is no error.
  page: async ({ page }, use) => {
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('console', (message) => {
      if (message.type() !== 'error' || message.text().includes('the server responded with a status of')) return;
      errors.push(message.text());
    });
    await use(page);
    expect(errors, 'errors in the browser console').toEqual([]);
  },
});
