/** What operators are given for Grafana and Prometheus, as far as it can be seen without either. The compiler holds dashboards against Grafana's own types (build.ts), test/e2e their metrics against a running service. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { dashboards } from '../../envoy/dashboards/build.ts';

const FOLDER = new URL('../../envoy/dashboards/', import.meta.url);
const files = readdirSync(FOLDER).filter((file) => file.endsWith('.json'));

// biome-ignore lint/suspicious/noExplicitAny: a test's view of JSON
type Json = any;

it('the dashboards are as their table says (node envoy/dashboards/build.ts)', () => {
  expect([...dashboards().keys()].toSorted()).toEqual(files.toSorted());
  for (const [file, text] of dashboards()) expect(readFileSync(new URL(file, FOLDER), 'utf8'), file).toBe(text);
});

describe.each(files)('%s', (file) => {
  const dashboard: Json = JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8'));

  it('has the shape of a dashboard', () => {
    expect(dashboard).toMatchObject({
      uid: expect.stringMatching(/^[\w-]{1,40}$/),
      title: expect.stringMatching(/^Sluice: /),
      schemaVersion: 39,
    });
    const names = dashboard.templating.list.map(({ name }: Json) => name);
    expect(names).toEqual(['datasource', 'instance', 'target']);
    expect(new Set(dashboard.panels.map(({ id }: Json) => id)).size).toBe(dashboard.panels.length);
    for (const panel of dashboard.panels) {
      expect(panel).toMatchObject({
        title: expect.any(String),
        description: expect.stringMatching(/\.$/),
        datasource: { uid: '$datasource' },
      });
      expect(['timeseries', 'stat', 'bargauge']).toContain(panel.type);
      expect(panel.targets.length).toBeGreaterThan(0);
      for (const { expr, refId, datasource } of panel.targets) {
        expect(datasource.uid).toBe('$datasource');
        expect(refId).toMatch(/^[A-Z]$/);
        // Every query can be narrowed to one gateway, and uses no variable that is not there.
        expect(expr).toContain('instance=~"$instance"');
        for (const [, used = ''] of expr.matchAll(/\$(\w+)/g)) expect([...names, '__rate_interval', '__range']).toContain(used);
      }
    }
  });

  it('lays its panels out side by side', () => {
    const taken = new Set<string>();
    for (const { gridPos } of dashboard.panels) {
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect(taken.has(`${x},${y}`), `${x},${y}`).toBe(false);
          taken.add(`${x},${y}`);
        }
    }
  });
});

it('every alert says how bad it is and what to do, and has a test', () => {
  const text = (name: string): string => readFileSync(new URL(`../prometheus/${name}`, FOLDER), 'utf8');
  const rules: Json[] = parse(text('alerts.yaml')).groups.flatMap((group: Json) => group.rules);
  expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
  for (const rule of rules) {
    expect(rule.labels.severity).toMatch(/^(?:page|ticket)$/);
    expect(rule.annotations).toMatchObject({ summary: expect.any(String), description: expect.stringMatching(/\.$/) });
  }
  const tested = text('alerts.test.yaml');
  for (const { alert, labels } of rules)
    if (labels.severity === 'page' && alert !== 'SluiceNotRecorded') expect(tested).toContain(`alertname: ${alert}`);
});
