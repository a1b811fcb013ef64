// Every page in light and dark, narrow and wide: axe finds nothing, nothing scrolls sideways, and the preview works with
// the keyboard alone.

import axe from 'axe-core';
import { INPUT, openPreview, openTask } from './support/person.js';
import { expect, test } from './support/test.js';

const PUBLIC = [
  '/',
  '/pricing',
  '/pricing?mode=byok&seats=4',
  '/pricing/calculator',
  '/pricing/calculator?plan=free&seats=3&run-prd=-1&run-plt-gateway=400',
  '/terms',
  '/sign-up',
  '/sign-up?sent=1',
  '/sign-in',
  '/sign-in?after=verified',
  '/reset-password',
  '/reset-password?sent=1',
  '/reset-password/new?token=none',
  '/verify-email?token=none',
  '/invitation?token=none',
  '/sign-in/code',
  '/confirm-email?token=none',
  '/unsubscribe?token=none',
  '/unsubscribe?done=1',
  '/nothing-here',
];
const CONSOLE = [
  '/pricing',
  '/overview',
  '/plan',
  '/plan?trial=1&to=pro',
  '/plan/change/nothing-here',
  '/tasks',
  '/agents',
  '/api-keys',
  '/credits',
  '/credits/statement',
  '/credits/statement?kind=debit&at=2026-11-24T12:00',
  '/credits/code',
  '/credits/explained',
  '/credits/auto-top-up',
  '/credits/refund',
  '/credits/refund?amount=2.50',
  '/credits/refund?amount=a lot',
  '/limits',
  '/usage',
  '/usage/nothing-here',
  '/keys',
  '/team',
  '/settings',
  '/settings/delete',
  '/settings/second-factor',
  '/settings/webhooks',
  '/alerts',
  '/alerts/settings',
  '/settings/delete-user',
];

const WIDTHS = [390, 1280];
const ABOUT_COLOUR = ['color-contrast', 'link-in-text-block'];

// Each page is opened once and looked at in both widths and both colour schemes, as when a person turns a phone or the sun
// sets: the answer of the server is the same.
test.use({ viewport: { width: WIDTHS[0], height: 900 }, colorScheme: 'light' });

test.describe('public pages', () => {
  examineEach(PUBLIC);
});

test.describe('console with nothing yet', () => {
  test.use({ storageState: async ({ newcomer }, use) => use(newcomer.state) });
  examineEach(CONSOLE);
});

test.describe('console with credit and a run', () => {
  test.use({ storageState: async ({ customer }, use) => use(customer.state) });
  examineEach(CONSOLE);

  test('what is theirs: a purchase, a run, its record, a line of the statement, a webhook', async ({ page, customer }) => {
    for (const address of customer.pages) {
      await page.goto(address);
      await examine(page);
    }
  });

  test('a task and its preview', async ({ page }) => {
    await openTask(page, 'PRD', INPUT);
    await examine(page);
    await openPreview(page);
    await examine(page);
  });
});

test.describe('320 px, the narrowest there is', () => {
  test.use({ viewport: { width: 320, height: 640 }, storageState: async ({ customer }, use) => use(customer.state) });

  test('nothing scrolls sideways', async ({ page, customer }) => {
    test.setTimeout(120_000);
    for (const address of [...PUBLIC, ...CONSOLE, ...customer.pages]) {
      await page.goto(address);
      expect.soft(await sidewaysPixels(page), address).toBe(0);
    }
  });
});

test.describe('keyboard', () => {
  test.use({ storageState: async ({ customer }, use) => use(customer.state) });

  test('Tab reaches the preview, Esc cancels it, Enter executes', async ({ page }) => {
    await openTask(page, 'Context recall', INPUT);
    const preview = page.getByRole('button', { name: 'Preview the cost' });
    await tabTo(page, preview);
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog');
    await expect(dialog).toBeVisible();
    await page.keyboard.press('Escape');
    await expect(dialog).toBeHidden();
    await expect(preview).toBeFocused();

    await page.keyboard.press('Enter');
    await expect(dialog).toBeVisible();
    await expect(dialog.getByRole('button', { name: 'Execute' })).toBeFocused();
    await page.keyboard.press('Enter');
    await expect(page).toHaveURL(/\/runs\//);
  });

  test('the first stop is a link past the navigation', async ({ page }) => {
    await page.goto('/credits');
    await page.keyboard.press('Tab');
    const skip = page.getByRole('link', { name: 'Skip to the content' });
    await expect(skip).toBeFocused();
    await page.keyboard.press('Enter');
    await expect(page.getByRole('main')).toBeFocused();
  });
});

// A test for each address.
function examineEach(addresses) {
  for (const address of addresses) {
    test(address, async ({ page }) => {
      await page.goto(address);
      await examine(page);
    });
  }
}

// Axe finds nothing, and nothing scrolls sideways, in each width and colour scheme. What a rule says about roles, names and
// structure does not depend on the scheme, so in the dark only the rules about colour are asked.
async function examine(page) {
  const address = page.url();
  await page.evaluate(axe.source);
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 900 });
    for (const colorScheme of ['light', 'dark']) {
      const what = `${address}, ${colorScheme}, ${width} px`;
      await page.emulateMedia({ colorScheme });
      expect.soft(await axeFindings(page, colorScheme === 'dark' ? ABOUT_COLOUR : null), `axe on ${what}`).toEqual([]);
      expect.soft(await sidewaysPixels(page), `pixels of sideways scrolling on ${what}`).toBe(0);
    }
  }
}

function axeFindings(page, rules) {
  return page.evaluate(async (rules) => {
    // Colours that are still fading in would be measured half way. What goes round for ever has no end to wait for.
    const ending = document.getAnimations().filter(({ effect }) => effect.getComputedTiming().endTime !== Infinity);
    await Promise.all(ending.map((animation) => animation.finished.catch(() => {})));
    const runOnly = rules ? { type: 'rule', values: rules } : undefined;
    const { violations } = await window.axe.run(document, { resultTypes: ['violations'], runOnly });
    return violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map((node) => node.target.join(' ')).join(' | ')}`);
  }, rules);
}

function sidewaysPixels(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

// Presses Tab until the control has the focus; a person would give up after a few dozen.
async function tabTo(page, control) {
  for (let presses = 0; presses < 60; presses += 1) {
    if (await control.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error('Tab does not reach it');
}
