// `test` for every browser test: knows the demo of its project, and fails when a page logs an error nobody expected.

import { test as base, expect } from '@playwright/test';
import { buyPack, newPerson, payWithCredits, runTask, signUp } from './person.js';

export { expect };

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
      const state = await context.storageState();
      await context.close();
      await use({ state, bought, run });
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
