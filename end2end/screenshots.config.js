// Pictures instead of tests: each page of a demo with 90 days of history. `make screenshots` runs it.

import { defineConfig } from '@playwright/test';
import { chromium } from './support/chromium.js';

process.env.SEED_DAYS ??= '90';

export default defineConfig({
  testDir: '.',
  testMatch: 'screenshots.js',
  outputDir: '../test-results',
  globalSetup: './support/demos.js',
  workers: 1,
  reporter: [['list']],
  timeout: 120_000,
  use: { ...chromium },
});
