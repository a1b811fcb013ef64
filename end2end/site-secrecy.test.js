// What every browser is sent: no key, token or password is in a file of the built site, the WebAssembly included.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { expect, test } from './support/test.js';

const SITE = 'target/site';

// The shapes of secrets: a beginning that says what it is, and enough after it.
const SHAPES = [
  /sk-ant-(?:api|admin|oat)\d{2}-[\w-]{16,}/g,
  /sk-(?:proj|svcacct|service|admin)-[\w-]{16,}/g,
  /sk-or-v1-[\w-]{16,}/g,
  /\bsk-[A-Za-z0-9]{32,}/g,
  /\bgsk_\w{16,}/g,
  /\bAIzaSy[\w-]{16,}/g,
  /\btgp_v1_[\w-]{16,}/g,
  /\b[sr]k_(?:live|test)_\w{8,}/g,
  /\bwhsec_[\w+/=]{8,}/g,
  /\btb_[A-Za-z0-9]{20,}/g,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----/g,
  /postgres(?:ql)?:\/\/[^\s:/]+:[^\s@]+@/g,
];

// Every secret of the environment that the site was built in.
function ofEnvironment() {
  return Object.entries(process.env)
    .filter(([name, value]) => /KEY|SECRET|TOKEN|PASSWORD/i.test(name) && value.length >= 12)
    .map(([, value]) => value);
}

function found(bytes, values) {
  const text = bytes.toString('latin1');
  const shapes = SHAPES.flatMap((shape) => text.match(shape) ?? []);
  return [...shapes, ...values.filter((value) => text.includes(Buffer.from(value).toString('latin1')))];
}

test('no file of the site holds a secret', () => {
  const values = ofEnvironment();
  const files = readdirSync(SITE, { recursive: true, withFileTypes: true }).filter((file) => file.isFile());
  expect(files.filter(({ name }) => name.endsWith('.wasm'))).toHaveLength(1);
  for (const { name, parentPath } of files) {
    const raw = readFileSync(join(parentPath, name));
    const bytes = name.endsWith('.br') ? brotliDecompressSync(raw) : name.endsWith('.gz') ? gunzipSync(raw) : raw;
    // Only the beginning is said, so that a report does not repeat it.
    expect(found(bytes, values).map((secret) => `${secret.slice(0, 6)}… in ${name}`)).toEqual([]);
  }
});

test('a secret of each shape would be found in the WebAssembly', () => {
  const name = readdirSync(join(SITE, 'pkg')).find((file) => file.endsWith('.wasm'));
  const wasm = readFileSync(join(SITE, 'pkg', name));
  const tail = 'Quiet0River1Patient2Otter3Quiet0River1Patient2Otter3';
  const planted = [
    `sk-ant-api03-${tail}`, `sk-proj-${tail}`, `sk-or-v1-${tail}`, `sk-${tail}`, `gsk_${tail}`, `AIzaSy${tail}`, `tgp_v1_${tail}`,
    `sk_live_${tail}`, `whsec_${tail}`, `tb_${tail}`, '-----BEGIN RSA PRIVATE KEY-----', `postgres://sam:${tail}@host/db`,
  ];
  for (const secret of planted) {
    const middle = wasm.length >> 1;
    const bytes = Buffer.concat([wasm.subarray(0, middle), Buffer.from(`\0${secret}\0`), wasm.subarray(middle)]);
    expect(found(bytes, []), secret.slice(0, 12)).not.toEqual([]);
  }
  expect(found(Buffer.concat([wasm, Buffer.from(tail)]), [tail])).not.toEqual([]);
});
