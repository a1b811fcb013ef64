// The browser tests: the demo on SQLite for all of them, and once more on Postgres and
// with the other catalogue for the journey that moves money.
// Run them with `scripts/test browser`, which builds what they need and names the browser.

import { defineConfig } from '@playwright/test';
import { cpus } from 'node:os';
import { chromium } from './support/chromium.js';

export default defineConfig({
  testDir: '.',
  testMatch: '*.test.js',
  outputDir: '../test-results',
  globalSetup: './support/demos.js',
  fullyParallel: true,
  // A test waits for pages and for runs, so there is one more than cores.
  workers: cpus().length + 1,
  forbidOnly: !!process.env.CI,
  reporter: [['list']],
  timeout: 60_000,
  expect: { timeout: 15_000 },
  // A trace films every page, which takes more than the tests themselves: ask for it with `--trace on`.
  use: { ...chromium, viewport: { width: 1280, height: 900 }, screenshot: 'only-on-failure' },
  projects: [
    { name: 'sqlite', use: { database: 'sqlite' } },
    { name: 'legionis', use: { database: 'legionis' }, grep: /@legionis/ },
    { name: 'postgres', use: { database: 'postgres' }, grep: /@postgres/ },
  ],
});
