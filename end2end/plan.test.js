// Plans in the browser: subscribe, grow, shrink, end, and a renewal that is not paid. Each person is new, so that nobody
// else's clock or card is in the way; the renewals run on a demo of their own, whose clock is moved.

import { expect, test } from './support/test.js';
import { startDemo } from './support/demos.js';
import { CARD, followMail, newPerson, reloadUntil, signUp } from './support/person.js';

const heading = (page) => page.getByRole('heading', { level: 1 });

// What each catalogue sells: a first plan, one above it by the seat, and what the steps of the journey cost.
const SOLD = {
  tiers: {
    first: { name: 'Pro', radio: /^Pro/, month: '$9.00' },
    more: { name: 'Team', radio: /^Team/ },
    twoSeats: '$49.00', // A whole month has just begun: $58.00 for two seats of Team less $9.00 for Pro.
    thirdSeat: '$29.00',
    lost: '5,000 executions a month instead of 75,000',
    byok: { now: 'Nothing to pay now', back: 'Nothing to pay now' },
  },
  legionis: {
    first: { name: 'Product', radio: /^Product(?! and)/, month: '$10.00' },
    more: { name: 'Product and strategy', radio: /^Product and strategy/ },
    twoSeats: '$24.00',
    thirdSeat: '$17.00',
    lost: '5 running agents instead of 20',
    byok: { now: 'Nothing to pay now', back: 'Nothing to pay now' },
  },
};
const sold = (database) => (database === 'legionis' ? SOLD.legionis : SOLD.tiers);

// Chooses a plan and goes to the hosted page.
async function choose(page, plan, { trial, byok } = {}) {
  await page.goto('/plan');
  await page.getByRole('radio', { name: plan.radio }).check();
  if (byok) await page.getByRole('radio', { name: /^Your own keys/ }).check();
  if (trial) await page.getByRole('checkbox', { name: /^Begin with a trial/ }).check();
  await page.getByRole('button', { name: 'Continue to payment' }).click();
  await expect(heading(page)).toHaveText('Pay');
}

async function payPlan(page, { card = CARD.good, button = /^Pay .* and subscribe$/ } = {}) {
  await page.getByLabel('Card number').fill(card);
  await page.getByLabel('Expiry').fill('12/49');
  await page.getByLabel('CVC').fill('123');
  await page.getByLabel('Name on card').fill('A Person');
  await page.getByRole('button', { name: button }).click();
  await expect(page).toHaveURL(/\/plan\?subscribed=/);
}

// Pays on the hosted page and waits until the plan has begun.
async function subscribe(page, plan, { card, byok } = {}) {
  await choose(page, plan, { byok });
  await payPlan(page, { card });
  await reloadUntil(page, () => expect(heading(page)).toContainText(plan.name, { timeout: 250 }));
}

async function moveClock(page, sandbox, days) {
  const moved = await page.request.post(`${sandbox}/control/clock`, { data: { advance_seconds: days * 86_400 } });
  expect(moved.ok()).toBe(true);
}

// A demo of its own, whose clock nobody else minds; `work` gets a page, the sandbox, and its subject's catalogue.
async function withOwnDemo({ browser, database }, name, work) {
  test.setTimeout(120_000);
  const called = `${name}-${database}`;
  const end = await startDemo(called, undefined, 0, database === 'legionis' ? ['--catalogue', 'legionis'] : []);
  const context = await browser.newContext({ baseURL: process.env[`${called.toUpperCase()}_DEMO`] });
  try {
    await work(await context.newPage(), process.env[`${called.toUpperCase()}_SANDBOX`], sold(database));
  } finally {
    await context.close();
    await end();
  }
}

test('subscribe, upgrade with the price first, add a seat, take less, end and resume @legionis', async ({ page, sandbox, database }) => {
  const { first, more, twoSeats, thirdSeat, lost } = sold(database);
  await signUp(page, sandbox, newPerson('plan'));
  await page.goto('/plan');
  await expect(heading(page)).toHaveText(database === 'legionis' ? 'Plan: Guest' : 'Plan: Free');
  await subscribe(page, first);
  await expect(page.getByRole('region', { name: 'What you have' })).toContainText(first.month);
  await expect(page.getByRole('row', { name: new RegExp(`${first.name} .*Paid.*\\${first.month}`) })).toBeVisible();

  await page.getByRole('radio', { name: more.radio }).check();
  await page.getByRole('spinbutton', { name: 'Seats' }).fill('2');
  await page.getByRole('button', { name: 'See what the change costs' }).click();
  await expect(page).toHaveURL(/\/plan\/change\//);
  await expect(heading(page)).toHaveText(`${twoSeats} now`);
  await page.getByRole('button', { name: `Change now and pay ${twoSeats}` }).click();
  await expect(heading(page)).toHaveText(`Plan: ${more.name}, 2 seats`);
  await expect(page.getByText('Your plan was changed.')).toBeVisible();

  await page.getByRole('spinbutton', { name: 'Seats' }).fill('3');
  await page.getByRole('button', { name: 'See what the change costs' }).click();
  await expect(heading(page)).toHaveText(`${thirdSeat} now`);
  await page.getByRole('button', { name: /^Change now and pay/ }).click();
  await expect(heading(page)).toHaveText(`Plan: ${more.name}, 3 seats`);

  await page.getByRole('radio', { name: first.radio }).check();
  await page.getByRole('button', { name: 'See what the change costs' }).click();
  await expect(heading(page)).toContainText('Nothing changes until');
  await expect(page.getByRole('region', { name: 'What you will have less of' })).toContainText(lost);
  await page.getByRole('button', { name: /^Change on/ }).click();
  await expect(heading(page)).toHaveText(`Plan: ${more.name}, 3 seats`);
  await expect(page.getByText(new RegExp(`on: ${first.name}.*Until then nothing changes\\.`))).toBeVisible();

  await page.getByRole('button', { name: /^End the plan on/ }).click();
  await expect(page.getByText(/It ends on .* and becomes the free plan/)).toBeVisible();
  await page.getByRole('button', { name: 'Resume the plan' }).click();
  await expect(page.getByText('Your plan goes on.')).toBeVisible();
});

test('to own keys and back; without a key that works the price stays for a week @legionis', async ({ page, sandbox, database }) => {
  const { first, byok } = sold(database);
  await signUp(page, sandbox, newPerson('byok'));
  await saveKey(page);
  await subscribe(page, first);

  await page.getByRole('radio', { name: /^Your own keys/ }).check();
  await page.getByRole('button', { name: 'See what the change costs' }).click();
  await expect(heading(page)).toHaveText(byok.now);
  await page.getByRole('button', { name: 'Change now' }).click();
  await expect(heading(page)).toHaveText(new RegExp(`^Plan: ${first.name}.*, your keys$`));

  await page.goto('/keys');
  await page.getByText('Change', { exact: true }).click();
  await page.getByRole('button', { name: 'Delete the key' }).click();
  const missing = page.getByText(/^No key of yours works\. Your plan keeps its price until/);
  await expect(missing).toBeVisible();
  await page.getByRole('link', { name: 'See your plan' }).click();
  await expect(missing).toBeVisible();
  await expect(page.getByText(`the standard price, ${first.month} a month`)).toBeVisible();

  await saveKey(page);
  await expect(missing).toBeHidden();
  await page.goto('/plan');
  await expect(missing).toBeHidden();

  await page.getByRole('radio', { name: /^Our keys/ }).check();
  await page.getByRole('button', { name: 'See what the change costs' }).click();
  await expect(heading(page)).toHaveText(byok.back);
  await page.getByRole('button', { name: /^Change now/ }).click();
  await expect(heading(page)).not.toContainText('your keys');
});

async function saveKey(page) {
  await page.goto('/keys');
  await page.getByLabel('Provider', { exact: true }).selectOption({ label: 'Anthropic' });
  await page.getByLabel('Key', { exact: true }).fill('sk-ant-api03-quiet-river-patient-otter-0001-AbCd');
  await page.getByRole('button', { name: 'Check and save' }).click();
  // It is saved without leaving the page: whoever goes on before the answer takes it back.
  await expect(page.getByText('The key is saved.')).toBeVisible();
}

test('own keys need a key that works, and seats cover the members', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('keys'));
  await page.goto('/plan?to=team&mode=byok&seats=2');
  await expect(page.getByRole('radio', { name: /^Team/ })).toBeChecked();
  await expect(page.getByRole('radio', { name: /^Your own keys/ })).toBeChecked();
  await page.getByRole('button', { name: 'Continue to payment' }).click();
  await expect(page.getByText(/needs at least one provider key that works/)).toBeVisible();
  await page.getByRole('radio', { name: /^Our keys/ }).check();
  await page.getByRole('spinbutton', { name: 'Seats' }).fill('0');
  await page.getByRole('button', { name: 'Continue to payment' }).click();
  await expect(page.getByRole('spinbutton', { name: 'Seats' })).toHaveAttribute('aria-invalid', 'true');
});

test('a renewal that is declined: banner, another card, paid @legionis', async ({ browser, database }) => {
  await withOwnDemo({ browser, database }, 'dunning', async (page, sandbox, { first }) => {
    await signUp(page, sandbox, newPerson('dunning'));
    await subscribe(page, first, { card: '4000 0000 0000 0341' });
    await moveClock(page, sandbox, 32);
    await page.goto('/overview');
    const banner = page.getByRole('complementary', { name: 'Payment' });
    await reloadUntil(page, () => expect(banner).toBeVisible({ timeout: 250 }));
    await banner.getByRole('link').click();
    await expect(page.getByText(/A payment is missing\. The plan stays until/)).toBeVisible();

    await page.getByRole('button', { name: 'Change card or address' }).click();
    await expect(heading(page)).toHaveText('Billing portal');
    await page.getByLabel('Card number').fill(CARD.good);
    await page.getByLabel('Expiry').fill('12/49');
    await page.getByLabel('CVC').fill('123');
    await page.getByLabel('Name on card').fill('A Person');
    await page.getByRole('button', { name: 'Save card' }).click();
    await page.getByRole('link', { name: 'Return' }).click();
    await page.getByRole('button', { name: 'Pay what is open now' }).click();
    await expect(page.getByText('Thank you, everything is paid.')).toBeVisible();
    await expect(banner).toBeHidden();
  });
});

test('a trial with a card becomes its plan; the same card has no second one @legionis', async ({ browser, database }) => {
  await withOwnDemo({ browser, database }, 'trial', async (page, sandbox, { first }) => {
    await signUp(page, sandbox, newPerson('trial'));
    await page.goto('/limits');
    await page.getByRole('link', { name: 'Choose the plan to try' }).click();
    await expect(page.getByRole('radio', { name: first.radio })).toBeChecked();
    await expect(page.getByRole('checkbox', { name: /^Begin with a trial: 30 days and \$10\.00 of credit/ })).toBeChecked();
    await page.getByRole('button', { name: 'Continue to payment' }).click();
    await payPlan(page, { button: 'Start trial' });
    await reloadUntil(page, () => expect(page.getByText(/^Trial until .*, then it is paid\.$/)).toBeVisible({ timeout: 250 }));
    await page.goto('/limits');
    await expect(page.getByText('Your trial is running')).toBeVisible();
    await expect(page.getByText('your card is charged its price, unless you cancel before')).toBeVisible();

    await page.context().clearCookies();
    const second = newPerson('second');
    await signUp(page, sandbox, second);
    await choose(page, first, { trial: true });
    await payPlan(page, { button: 'Start trial' });
    await reloadUntil(page, () => expect(page.getByRole('alert')).toContainText('Your plan did not begin, and nothing was charged', { timeout: 250 }));
    await expect(page.getByRole('alert')).toContainText('this card before; there is one for each person');
    await expect(heading(page)).toHaveText(database === 'legionis' ? 'Plan: Guest' : 'Plan: Free');
    await followMail(page, sandbox, second.email, 'Your Tokenbank trial did not begin');
    await expect(heading(page)).toHaveText('Limits');
    await page.getByLabel('Why another trial').fill('We share the card.');
    await page.getByRole('button', { name: 'Ask for another trial' }).click();
    await expect(page.getByText('You have asked for another trial')).toBeVisible();
    await expect(page.getByLabel('Why another trial')).toBeHidden();
  });
});

test('the trial becomes the plan that was chosen when its time is over @legionis', async ({ browser, database }) => {
  await withOwnDemo({ browser, database }, 'converts', async (page, sandbox, { first }) => {
    await signUp(page, sandbox, newPerson('converts'));
    await choose(page, first, { trial: true });
    await payPlan(page, { button: 'Start trial' });
    await reloadUntil(page, () => expect(page.getByText(/^Trial until/)).toBeVisible({ timeout: 250 }));
    await moveClock(page, sandbox, 31);
    await page.goto('/plan');
    await reloadUntil(page, () => expect(page.getByText(/^Paid, and renewed on/)).toBeVisible({ timeout: 250 }));
    const paid = page.getByRole('row', { name: new RegExp(`${first.name} .*Paid.*\\${first.month}`) });
    await reloadUntil(page, () => expect(paid).toBeVisible({ timeout: 250 }));
    await page.goto('/limits');
    await expect(page.getByText('Your trial is running')).toBeHidden();
  });
});

test('the trial with an own key asks for the key first', async ({ page, sandbox }) => {
  await signUp(page, sandbox, newPerson('own-key-trial'));
  await page.goto('/limits');
  await expect(page.getByRole('heading', { name: '30 days with your own key for every model' })).toBeVisible();
  await page.getByRole('main').getByRole('link', { name: 'Add a key' }).click();
  await saveKey(page);
  await expect(page.getByText('The key is saved.')).toBeVisible();
  await page.goto('/limits');
  await page.getByRole('radio', { name: 'Team' }).check();
  await page.getByRole('button', { name: 'Start the 30-day trial' }).click();
  await expect(page.getByText('Every model runs with your own keys, and the limits of Team count.')).toBeVisible();
  await expect(page.getByText('Your keys stay, and nothing is charged.')).toBeVisible();
});
