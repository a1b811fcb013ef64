// Reads Lighthouse's reports, prints the four categories and what costs points, and fails below 95 or with any layout shift.

import { readFileSync } from 'node:fs';

const LEAST = 95;
let failed = false;
const rows = [];
for (const file of process.argv.slice(2)) {
  const report = JSON.parse(readFileSync(file, 'utf8'));
  const row = { report: file };
  for (const { id, score, auditRefs } of Object.values(report.categories)) {
    row[id] = Math.round((score ?? 0) * 100);
    if (row[id] < LEAST) failed = true;
    for (const { id: audit, weight } of auditRefs) {
      const found = report.audits[audit];
      if (weight > 0 && found.score !== null && found.score < 0.9) {
        console.log(`${file}: ${id}: ${found.title} ${found.displayValue ?? ''}`);
      }
    }
  }
  row['layout shift'] = report.audits['cumulative-layout-shift'].numericValue;
  if (row['layout shift'] > 0) failed = true;
  rows.push(row);
}
console.table(rows);
if (failed) {
  console.error(`Lighthouse is below ${LEAST} somewhere, or something moves while the page loads.`);
  process.exit(1);
}
