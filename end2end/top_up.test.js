// Auto-top-up in the browser: turned on by consent with the charge said before, paused when the bank asks, confirmed with the
// bank, and lifted by another card. Each person is new.

import { expect, test } from './support/test.js';
import { CARD, buyPack, newPerson, reloadUntil, signUp } from './support/person.js';

const PAGE = '/credits/auto-top-up';
const heading = (page) => page.getByRole('heading', { level: 1 });
const state = (page) => page.getByRole('status').first();

// Fills Stripe's page and sends it.
async function leaveCard(page, number, button) {
  await expect(heading(page)).toHaveText('Pay');
  await page.getByLabel('Card number').fill(number);
  await page.getByLabel('Expiry').fill('12/49');
  await page.getByLabel('CVC').fill('123');
  await page.getByLabel('Name on card').fill('A Person');
  await page.getByRole('button', { name: button }).click();
}

// Chooses the rule and agrees to it; the page's own button sends it.
async function choose(page, { threshold, pack, cap }) {
  await page.getByLabel('When the balance falls under ($)').fill(threshold);
  await page.getByLabel('Buy', { exact: true }).selectOption({ label: pack });
  await page.getByLabel('At most a month ($)').fill(cap);
  await page.getByRole('checkbox', { name: /^I agree that Stripe keeps the card/ }).check();
}

const charges = (page) => page.getByRole('table', { name: /^Charges of auto-top-up/ }).getByRole('row');

test('off, then on: the card is left, the charge is said before, the pack is bought', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('topup'));
  await buyPack(page, '$10');
  await page.goto('/credits');
  await expect(page.getByText('Auto-top-up is off')).toBeVisible();
  await page.getByRole('link', { name: 'Set it up' }).click();
  await expect(heading(page)).toHaveText('Auto-top-up');
  await expect(state(page)).toContainText('Off');

  // Without the consent nothing is saved, and the problem stands beside it.
  await page.getByRole('button', { name: 'Turn on: leave a card' }).click();
  await expect(page.getByText('was not ticked')).toBeVisible();
  await choose(page, { threshold: '30', pack: '$25 pack for $28.75', cap: '100' });
  await page.getByRole('button', { name: /^Turn on/ }).click();
  await expect(page.getByText('$30.00 is more than the $25.00 that the pack gives')).toBeVisible();
  await choose(page, { threshold: '5', pack: '$25 pack for $28.75', cap: '20' });
  await page.getByRole('button', { name: /^Turn on/ }).click();
  await expect(page.getByText('is less than the $28.75 that one pack costs')).toBeVisible();

  // $10.00 is not under $5.00: a card is left, and nothing is charged.
  await choose(page, { threshold: '5', pack: '$25 pack for $28.75', cap: '100' });
  await page.getByRole('button', { name: 'Turn on: leave a card' }).click();
  await leaveCard(page, CARD.good, 'Save card');
  await expect(page).toHaveURL(/auto-top-up\?card=/);
  await expect(state(page)).toContainText('On');
  await expect(page.getByText('When your balance falls under $5.00, the $25 pack is bought for $28.75 with Visa ending in 4242')).toBeVisible();
  await expect(page.getByRole('region', { name: 'Charges', exact: true })).toContainText('$0.00 of $100.00');

  // A higher threshold would charge now: the page says so first, and only the second button does it.
  await choose(page, { threshold: '12', pack: '$25 pack for $28.75', cap: '100' });
  await page.getByRole('button', { name: 'Save and renew the consent' }).click();
  await expect(page.getByText('You will be charged $28.75 now.')).toBeVisible();
  await page.getByRole('button', { name: 'Turn on and pay $28.75 now' }).click();
  await expect(page.getByRole('region', { name: 'Charges', exact: true })).toContainText('$28.75 of $100.00');
  await expect(charges(page).nth(1)).toContainText('Paid');
  await expect(state(page)).toContainText('On');
  await page.goto('/credits');
  await expect(page.getByText('$35.00').first()).toBeVisible();
  await expect(page.getByText('Auto-top-up is on')).toBeVisible();

  await page.goto(PAGE);
  await page.getByRole('button', { name: 'Turn off' }).click();
  await expect(state(page)).toContainText('Off');
});

test('paused when the bank asks, confirmed with the bank, lifted by another card', async ({ page, sandbox }) => {
  const person = newPerson('threeds');
  await signUp(page, sandbox, person);
  await page.goto(PAGE);
  // Nothing is there, so the page says at once what turning it on charges: the first pack is paid on Stripe's page, which
  // keeps the card.
  await expect(page.getByText('You will be charged $11.50 now.')).toBeVisible();
  await choose(page, { threshold: '5', pack: '$10 pack for $11.50', cap: '100' });
  await page.getByRole('button', { name: 'Turn on: pay $11.50 and leave the card' }).click();
  await leaveCard(page, '4000 0027 6000 3184', 'Pay $11.50');
  await page.getByRole('button', { name: 'Complete' }).click();
  await page.goto(PAGE);
  await reloadUntil(page, () => expect(state(page)).toContainText('On', { timeout: 250 }));
  // The pack that it began with counts in the month, and stands among the charges.
  await expect(page.getByRole('region', { name: 'Charges', exact: true })).toContainText('$11.50 of $100.00');
  await expect(page.getByRole('region', { name: 'Charges', exact: true })).toContainText('1 of 5 charges');
  await expect(charges(page).nth(1)).toContainText('The first pack, paid by you');

  // Charged while nobody is there, this card's bank asks: paused, with the reason and the remedy.
  await choose(page, { threshold: '10', pack: '$25 pack for $28.75', cap: '100' });
  await page.getByLabel('When the balance falls under ($)').fill('10.01');
  await page.getByRole('button', { name: 'Save and renew the consent' }).click();
  await expect(page.getByText('You will be charged $28.75 now.')).toBeVisible();
  await page.getByRole('button', { name: 'Turn on and pay $28.75 now' }).click();
  await expect(state(page)).toContainText('Paused: The bank wants you to confirm the payment.');
  await expect(state(page)).toContainText('authentication_required');
  await expect(charges(page).nth(1)).toContainText('Waits for your bank');
  await page.goto('/credits');
  await expect(page.getByText('Auto-top-up is paused')).toBeVisible();

  // The mail leads back here, and from here to the bank.
  await expect(async () => {
    const mails = await (await page.request.get(`${sandbox}/control/mail?to=${encodeURIComponent(person.email)}`)).json();
    expect(mails.some((mail) => /confirm/i.test(mail.subject) && mail.text.includes(PAGE))).toBe(true);
  }).toPass();
  await page.goto(PAGE);
  await page.getByRole('button', { name: 'Go to the bank and confirm $28.75' }).click();
  await expect(heading(page)).toHaveText('3-D Secure');
  await page.getByRole('button', { name: 'Complete' }).click();
  await expect(page).toHaveURL(/auto-top-up\?confirmed=/);
  await expect(charges(page).nth(1)).toContainText('Paid');
  await expect(page.getByRole('region', { name: 'Charges', exact: true })).toContainText('$40.25 of $100.00');

  // It would ask again, so it stays paused until there is another card.
  await expect(state(page)).toContainText('Paused');
  await page.getByRole('button', { name: 'Use another card' }).click();
  await leaveCard(page, CARD.good, 'Save card');
  await expect(state(page)).toContainText('On');
  await expect(page.getByText('Visa ending in 4242, valid until 12/2049.')).toBeVisible();
  await page.goto('/credits');
  await expect(page.getByText('$35.00').first()).toBeVisible();
});
