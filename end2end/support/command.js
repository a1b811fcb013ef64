// The program's commands, run on the data of a demo while it runs.

import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';

// Runs `tokenbank …` on the SQLite demo; what it printed.
export function tokenbank(...command) {
  const program = process.env.TOKENBANK || 'target/debug/tokenbank';
  const env = { ...process.env };
  delete env.DATABASE_URL;
  return execFileSync(program, [...command, '--data', resolve('target/end2end/sqlite')], { env, encoding: 'utf8' }).trim();
}
