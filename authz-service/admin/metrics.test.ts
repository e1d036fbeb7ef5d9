import { describe, expect, it } from 'vitest';
import { Histogram, Metrics } from './metrics.ts';

it('counts decisions apart by effect, target and rule', async () => {
  const metrics = new Metrics();
  for (const effect of ['allow', 'allow', 'deny'] as const) metrics.decided(effect, 'demo', 'reads');
  metrics.decided('hold', 'other-target', 'reads');
  const lines = (await metrics.text()).split('\n').filter((line) => line.startsWith('sluice_decisions_total{'));
  expect(lines).toEqual([
    'sluice_decisions_total{effect="allow",target="demo",rule="reads"} 2',
    'sluice_decisions_total{effect="deny",target="demo",rule="reads"} 1',
    'sluice_decisions_total{effect="hold",target="other-target",rule="reads"} 1',
  ]);
});

it('does not grow with what a policy calls its rules or a configuration its targets, and loses no count', async () => {
  const metrics = new Metrics();
  for (let n = 0; n < 5000; n += 1) metrics.decided('deny', 'demo', `rule-${n}`);
  for (let n = 0; n < 5000; n += 1) metrics.decided('deny', `target-${n}`, 'r');
  const lines = (await metrics.text()).split('\n').filter((line) => line.startsWith('sluice_decisions_total{'));
  expect(lines.length).toBeLessThan(1200);
  expect(lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)).toBe(10_000);
});

it('puts each time into its bucket, cumulatively, the bound included', () => {
  const histogram = new Histogram([1, 2]);
  for (const seconds of [0.5, 1, 1.5, 7]) histogram.observe(seconds);
  expect(histogram.samples('x', {}).map(({ metricName, labels, value }) => [metricName, labels?.le, value])).toEqual([
    ['x_bucket', '1', 2],
    ['x_bucket', '2', 3],
    ['x_bucket', '+Inf', 4],
    ['x_sum', undefined, 10],
    ['x_count', undefined, 4],
  ]);
});

describe('a metric that its owner answers for', () => {
  it('is asked at each scrape', async () => {
    const metrics = new Metrics();
    let open = 1;
    metrics.read('gauge', 'sluice_streams_open', 'Streams.', () => open);
    metrics.read('counter', 'sluice_fetch_failures_total', 'Failures.', () => [{ value: 3, labels: { issuer: 'corp' } }]);
    expect(await metrics.text()).toContain('sluice_streams_open 1\n');
    open = 2;
    const text = await metrics.text();
    expect(text).toContain('sluice_streams_open 2\n');
    expect(text).toContain('# TYPE sluice_fetch_failures_total counter\nsluice_fetch_failures_total{issuer="corp"} 3\n');
  });

  it('and fails takes no other with it', async () => {
    const metrics = new Metrics();
    metrics.read('gauge', 'sluice_gone', 'Gone.', () => {
      throw new Error('closed');
    });
    metrics.counter('sluice_reload_failures_total', 'Reloads that failed.').inc();
    const text = await metrics.text();
    expect(text).not.toMatch(/^sluice_gone /m);
    expect(text).toContain('sluice_reload_failures_total 1\n');
  });
});

it('costs a request next to nothing', () => {
  const metrics = new Metrics();
  const [targets, rules] = [
    ['demo', 'orders', 'billing'],
    ['reads', 'writes', 'default-deny'],
  ];
  const run = (times: number): number => {
    const begun = performance.now();
    for (let n = 0; n < times; n += 1) {
      metrics.decided('allow', targets[n % 3] as string, rules[n % 3] as string);
      metrics.observe('policy', 0.0001);
    }
    return ((performance.now() - begun) * 1e6) / times;
  };
  run(100_000);
  const nanoseconds = Math.min(run(200_000), run(200_000), run(200_000));
  // Far above what it takes, for slower machines.
  expect(nanoseconds).toBeLessThan(1000);
});
