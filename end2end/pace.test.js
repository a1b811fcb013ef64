// A plan that is slowed down: when the next run may begin counts down on the page, and then it runs. On a demo of its own,
// whose catalogue slows the free plan down early.

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from './support/test.js';
import { startDemo } from './support/demos.js';
import { INPUT, newPerson, openPreview, openTask, runTask, signUp, waitForRun } from './support/person.js';

const FOLDER = 'target/end2end/slow-catalogue';

// The shipped catalogue, whose free plan runs three a minute after its first run.
function slowCatalogue() {
  mkdirSync(FOLDER, { recursive: true });
  for (const file of ['models.toml', 'skills.toml']) copyFileSync(`catalogue/${file}`, `${FOLDER}/${file}`);
  const text = readFileSync('catalogue/tiers.toml', 'utf8');
  const slow = text
    .replace(/version = "tiers-[^"]*"/, 'version = "tiers-slow"')
    .replace('executions_a_month = 100\n', 'executions_a_month = 100\nthrottled_after = 1\nthrottled_to_a_minute = 3\n');
  writeFileSync(`${FOLDER}/tiers.toml`, slow);
  return `${FOLDER}/tiers.toml`;
}

test('a run that must wait counts down and then may begin', async ({ browser }) => {
  test.setTimeout(120_000);
  const end = await startDemo('slow', undefined, 0, ['--catalogue', slowCatalogue()]);
  const context = await browser.newContext({ baseURL: process.env.SLOW_DEMO });
  try {
    const page = await context.newPage();
    await signUp(page, process.env.SLOW_SANDBOX, newPerson('slow'));
    await runTask(page, 'User story');
    await runTask(page, 'User story'); // The first of the slow ones sets the pace.

    await openTask(page, 'User story');
    await expect(page.getByText(/^Your plan is slowed down: it may run the next one in \d+ s\.$/)).toBeVisible();
    const preview = await openPreview(page);
    const execute = preview.getByRole('button', { name: 'Execute' });
    await expect(execute).toBeDisabled();
    await expect(preview).toContainText(/Your Free plan runs 3 a minute after 1 runs of a period\. Try again in \d+ seconds?/);
    await expect(execute).toBeEnabled({ timeout: 30_000 });
    await expect(preview).toContainText('Paid from: plan allowance');
    await execute.click();
    await waitForRun(page);

    // Without JavaScript it says when, in the account's time, and offers what helps now.
    const plain = await browser.newContext({ baseURL: process.env.SLOW_DEMO, javaScriptEnabled: false, storageState: await context.storageState() });
    const still = await plain.newPage();
    await openTask(still, 'User story', INPUT);
    const shown = await openPreview(still);
    await expect(shown).toContainText(/Try again in \d+ seconds?, or add credits to run now\./);
    await expect(shown.getByRole('link', { name: 'Add credits' })).toBeVisible();
    await plain.close();
  } finally {
    await context.close();
    await end();
  }
});
