// Alerts in the browser: budgets and preferences are kept, a low balance is told on the bell and by mail and is read; a webhook is
// added, tested and its message found at the receiver; with and without JavaScript.

import { buyPack, newPerson, signUp } from './support/person.js';
import { expect, test } from './support/test.js';

const bell = (page) => page.getByRole('banner').getByRole('link', { name: /^Alerts/ });

/** Asks for the page again until what it shows is there: alerts are raised in the background. */
async function reloadUntil(page, check) {
  await expect(async () => {
    await page.reload();
    await check();
  }).toPass({ timeout: 45_000 });
}

async function addWebhook(page, sandbox, label) {
  await page.goto('/settings');
  await page.getByRole('link', { name: 'Webhooks' }).click();
  await page.getByLabel('Address').fill(`${sandbox}/receiver`);
  await page.getByLabel('Label').fill(label);
  await page.getByRole('button', { name: 'Add the webhook' }).click();
  await expect(page.getByText('Keep this secret now: it is not shown again')).toBeVisible();
  const secret = await page.getByText(/^whsec_[A-Za-z0-9+/=]{44}$/).innerText();
  await page.goto('/settings/webhooks');
  expect(await page.content()).not.toContain(secret);
  return secret;
}

/** The link of the newest mail about the balance. */
async function unsubscribeLink(page, sandbox, email) {
  await page.goto(`${sandbox}/mailbox`);
  await page.getByRole('row').filter({ hasText: email }).getByRole('link', { name: 'Your credit balance' }).first().click();
  return page.getByRole('article').getByRole('link', { name: /\/unsubscribe\?token=/ }).getAttribute('href');
}

async function received(sandbox) {
  const answer = await fetch(`${sandbox}/control/received`);
  return (await answer.json()).map((message) => ({ ...message, body: JSON.parse(message.body) }));
}

test('a budget is set and preferences are kept', async ({ page, sandbox }) => {
  const person = newPerson('alerts');
  await signUp(page, sandbox, person);
  await bell(page).click();
  await expect(page.getByText('Nothing to tell you')).toBeVisible();

  await page.getByRole('link', { name: 'Set a budget' }).click();
  await page.getByLabel('Dollars a month').fill('ten');
  await page.getByRole('button', { name: 'Set the budget' }).click();
  await expect(page.getByText(/Not an amount up to/)).toBeVisible();
  await expect(page.getByLabel('Dollars a month')).toHaveValue('ten');
  await page.getByLabel('Dollars a month').fill('0.10');
  await page.getByRole('button', { name: 'Set the budget' }).click();
  await expect(page.getByRole('row', { name: /All runs/i })).toContainText('$0.10');

  const tick = page.getByRole('checkbox', { name: 'The balance is low: by mail' });
  await tick.uncheck();
  await page.getByRole('button', { name: 'Save your preferences' }).click();
  await expect(page.getByText('Your preferences are saved.')).toBeVisible();
  await expect(tick).not.toBeChecked();
  await expect(page.getByRole('checkbox', { name: 'A payment waits for you: by mail' })).toBeDisabled();
});

test('a webhook is tested and its message arrives signed', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('webhooks'));
  await addWebhook(page, sandbox, 'The office');
  await page.getByRole('link', { name: 'Open The office' }).click();
  await page.getByRole('button', { name: 'Send a test' }).click();
  await expect(page.getByText('The test is on its way.')).toBeVisible();
  await page.goto(page.url().split('?')[0]);
  await reloadUntil(page, () => expect(page.getByText('Delivered')).toBeVisible({ timeout: 500 }));
  const id = await page.getByRole('rowheader').getByText(/^[0-9a-f-]{36}$/).first().innerText();
  const message = (await received(sandbox)).find((one) => one.id === id);
  expect(message.body).toMatchObject({ type: 'webhook.test', test: true, version: 1, id });
  expect(message.signature).toMatch(/^v1,[A-Za-z0-9+/]{43}=$/);

  await page.getByText('Change, rotate or delete it').click();
  await page.getByRole('button', { name: 'Make a new secret' }).click();
  await expect(page.getByText('Keep this secret now: it is not shown again')).toBeVisible();
  await page.goto(page.url());
  await expect(page.getByText('signs too until')).toBeVisible();
  await page.getByText('Change, rotate or delete it').click();
  await page.getByRole('button', { name: 'Delete the webhook' }).click();
  await expect(page.getByText('The webhook is deleted.')).toBeVisible();
});

test.describe('without JavaScript', () => {
  test.use({ javaScriptEnabled: false });

  test('a webhook that may not be reached is refused, one that refuses is seen failing', async ({ page, sandbox }) => {
    await signUp(page, sandbox, newPerson('webhooks-plain'));
    await page.goto('/settings/webhooks');
    await page.getByLabel('Address').fill('http://169.254.169.254/latest');
    await page.getByRole('button', { name: 'Add the webhook' }).click();
    await expect(page.getByText(/This address is never asked from here/)).toBeVisible();
    await page.getByLabel('Address').fill(`${sandbox}/receiver/503`);
    await page.getByRole('button', { name: 'Add the webhook' }).click();
    await expect(page.getByText(/^whsec_/)).toBeVisible();
    await page.goto('/settings/webhooks');
    await page.getByRole('link', { name: /^Open / }).click();
    await page.getByRole('button', { name: 'Send a test' }).click();
    await page.goto(page.url().split('?')[0]);
    await reloadUntil(page, () => expect(page.getByText('Given up')).toBeVisible({ timeout: 500 }));
    await expect(page.getByRole('listitem').filter({ hasText: 'it answered 503' })).toBeVisible();
  });

  test('a low balance is told once, by mail and on the bell, and is read', async ({ page, sandbox }) => {
    test.slow();
    const person = newPerson('alerts-plain');
    await signUp(page, sandbox, person);
    // The mark is above what a trial or a purchase could leave, so the first credit is told of as low.
    await page.goto('/alerts/settings');
    await page.getByLabel('Mark, in dollars').fill('500');
    await page.getByRole('button', { name: 'Save the mark' }).click();
    await buyPack(page, '$10');
    await page.goto('/alerts');
    await reloadUntil(page, () => expect(page.getByText('Your credit balance is $10.00')).toBeVisible({ timeout: 500 }));
    await expect(bell(page)).toHaveAccessibleName('Alerts, 1 new');
    await page.getByRole('button', { name: /^Mark as read/ }).click();
    await expect(page.getByText('You have read everything.')).toBeVisible();
    await expect(bell(page)).toHaveAccessibleName('Alerts');

    await page.goto(await unsubscribeLink(page, sandbox, person.email));
    await page.getByRole('button', { name: 'No more of these mails' }).click();
    await expect(page.getByText('You get no more mails like that one')).toBeVisible();
    await page.goto('/alerts/settings');
    await expect(page.getByRole('checkbox', { name: 'The balance is low: by mail' })).not.toBeChecked();
    await expect(page.getByRole('checkbox', { name: 'The balance is low: here' })).toBeChecked();
  });
});
