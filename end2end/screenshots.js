// Takes the pictures: wide and light into docs/ for the README; dark and narrow ones into target/screenshots, to look at.

import { test as base } from '@playwright/test';
import { mkdirSync } from 'node:fs';
import { INPUT, openPreview, openTask, runTask, signIn } from './support/person.js';

const OWNER = { email: 'owner@demo.test', password: 'demo-password-1' };
const LOOKS = [
  { folder: 'docs', colorScheme: 'light', viewport: { width: 1280, height: 800 } },
  { folder: 'target/screenshots/dark', colorScheme: 'dark', viewport: { width: 1280, height: 800 } },
  { folder: 'target/screenshots/narrow', colorScheme: 'light', viewport: { width: 390, height: 844 } },
  { folder: 'target/screenshots/narrow-dark', colorScheme: 'dark', viewport: { width: 390, height: 844 } },
];
const test = base.extend({ baseURL: async ({}, use) => use(process.env.SQLITE_DEMO) });

for (const { folder, colorScheme, viewport } of LOOKS) {
  test.describe(folder, () => {
    test.use({ colorScheme, viewport, reducedMotion: 'reduce' });

    test('pictures', async ({ page }) => {
      mkdirSync(folder, { recursive: true });
      const take = async (name) => {
        await page.evaluate(() => document.fonts.ready);
        await page.screenshot({ path: `${folder}/${name}.png`, fullPage: folder !== 'docs' });
      };
      for (const [name, address] of [['landing', '/'], ['pricing', '/pricing'], ['calculator', '/pricing/calculator?profile=strategic-leader'], ['sign-up', '/sign-up'], ['sign-in', '/sign-in'], ['reset-password', '/reset-password']]) {
        await page.goto(address);
        await take(name);
      }
      await signIn(page, OWNER);
      for (const name of ['overview', 'tasks', 'agents', 'credits', 'limits', 'usage', 'keys', 'team', 'settings']) {
        await page.goto(`/${name}`);
        await take(name);
      }
      for (const [name, address] of [['plan', '/plan'], ['api-keys', '/api-keys'], ['statement', '/credits/statement'], ['auto-top-up', '/credits/auto-top-up'], ['refund', '/credits/refund'], ['explained', '/credits/explained'], ['alerts', '/alerts'], ['alert-settings', '/alerts/settings'], ['webhooks', '/settings/webhooks']]) {
        await page.goto(address);
        await take(name);
      }
      await openTask(page, 'PRD', INPUT);
      await openPreview(page);
      await take('preview');
      const run = await runTask(page, 'PRD');
      await take('run');
      await page.goto(run.record);
      await take('execution');
    });
  });
}
