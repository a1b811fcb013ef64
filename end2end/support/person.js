// What a person does in the console, step by step, found by role and label. Works with and without JavaScript.

import { expect } from '@playwright/test';
import { randomBytes } from 'node:crypto';

export const CARD = { good: '4242 4242 4242 4242', declined: '4000 0000 0000 0002', noFunds: '4000 0000 0000 9995' };

export function newPerson(name) {
  return { email: `${name}-${randomBytes(4).toString('hex')}@people.test`, password: 'quiet river, patient otter' };
}

// Creates an account, follows the link in the mail, and signs in.
export async function signUp(page, sandbox, person) {
  await page.goto('/sign-up');
  await page.getByLabel('E-mail').fill(person.email);
  await page.getByLabel('Password').fill(person.password);
  await page.getByRole('button', { name: 'Create the account' }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Check your mail');

  await followMail(page, sandbox, person.email, 'Confirm your e-mail');
  await page.getByRole('button', { name: 'Verify my e-mail' }).click();
  await signIn(page, person);
}

export async function signIn(page, { email, password }) {
  await page.goto('/sign-in');
  await page.getByLabel('E-mail').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click();
  await expect(page).toHaveURL(/\/overview$/);
}

// Opens the newest mail to somebody in the sandbox's mailbox, and the link to our site in it.
export async function followMail(page, sandbox, email, subject) {
  const mail = page.getByRole('row').filter({ hasText: email }).getByRole('link', { name: subject });
  await expect(async () => {
    await page.goto(`${sandbox}/mailbox`);
    await expect(mail.first()).toBeVisible({ timeout: 250 });
  }).toPass();
  await mail.first().click();
  await page.getByRole('article').getByRole('link').first().click();
}

// From the packs to the hosted payment page.
export async function beginCheckout(page, pack) {
  await page.goto('/credits');
  await page.getByRole('button', { name: `Buy ${pack} pack` }).click();
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Pay');
}

export async function pay(page, number) {
  await page.getByLabel('Card number').fill(number);
  await page.getByLabel('Expiry').fill('12/49');
  await page.getByLabel('CVC').fill('123');
  await page.getByLabel('Name on card').fill('A Person');
  await page.getByRole('button', { name: /^Pay / }).click();
}

// Buys a pack with a good card and waits for its credit. Answers with the address of the purchase.
export async function buyPack(page, pack) {
  await beginCheckout(page, pack);
  await pay(page, CARD.good);
  await expect(page).toHaveURL(/\/credits\/bought\//);
  await reloadUntil(page, () => expect(page.getByRole('heading', { level: 1 })).toContainText('of credit arrived', { timeout: 250 }));
  return new URL(page.url()).pathname;
}

// Credits pay from now on, also for what the plan includes.
export async function payWithCredits(page) {
  await page.goto('/limits');
  // On a catalogue without executions there is nothing to choose.
  if (await page.getByText('Credits pay for every run on this plan.').isVisible()) return;
  await page.getByRole('radio', { name: 'Credits first' }).check();
  await page.getByRole('button', { name: 'Save who pays' }).click();
  await expect(page.getByRole('radio', { name: 'Credits first' })).toBeChecked();
}

// The page looks again by itself every few seconds; a test need not wait for that.
export async function reloadUntil(page, check) {
  await expect(async () => {
    try {
      await check();
    } catch (failure) {
      await page.reload();
      throw failure;
    }
  }).toPass();
}

// The amount in the header, as it is written there.
export async function spendable(page) {
  const link = page.getByRole('banner').getByRole('link', { name: 'Spendable' });
  return nanos((await link.locator('.money').getAttribute('title')) ?? (await link.locator('.money').innerText()));
}

// `$1,234.5` as nano-dollars, exactly.
export function nanos(text) {
  const [, minus, whole, fraction = ''] = /([−-]?)\$([\d,]+)(?:\.(\d+))?/.exec(text) ?? [];
  if (whole === undefined) throw new Error(`no amount in "${text}"`);
  const value = BigInt(whole.replaceAll(',', '')) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0'));
  return minus ? -value : value;
}

// An amount on the screen: its title has every digit, where the text is rounded.
export async function amountOf(locator) {
  const money = locator.locator('.money').first();
  return nanos((await money.getAttribute('title')) ?? (await money.innerText()));
}

export const INPUT = 'A page where a team sees what its agents cost: today, this month, and by agent.';

// Opens a skill, previews it and executes; waits for the end. Answers with where the run and its record are.
export async function runTask(page, skill, input = INPUT) {
  await openTask(page, skill, input);
  const preview = await openPreview(page);
  await preview.getByRole('button', { name: 'Execute' }).click();
  return waitForRun(page);
}

// With JavaScript a modal; without, the page again with the same dialog open in it.
export async function openPreview(page) {
  await page.getByRole('button', { name: 'Preview the cost' }).click();
  const preview = page.getByRole('dialog');
  await expect(preview).toBeVisible();
  return preview;
}

export async function openTask(page, skill, input = INPUT) {
  await page.goto('/tasks');
  await page.getByRole('main').getByRole('link', { name: skill }).first().click();
  await expect(page).toHaveURL(/\/tasks\/./);
  await page.getByRole('main').getByRole('textbox').first().fill(input);
}

// Waits on the page of a run until it ended (it shows that by itself); its charge stands there to the last digit.
export async function waitForRun(page) {
  await expect(page).toHaveURL(/\/runs\//);
  const id = new URL(page.url()).pathname.split('/').pop();
  const charge = page.getByRole('region', { name: 'What it cost' });
  await expect(charge).toBeVisible({ timeout: 30_000 });
  return { id, run: `/runs/${id}`, record: `/usage/${id}`, charge: await amountOf(charge) };
}
