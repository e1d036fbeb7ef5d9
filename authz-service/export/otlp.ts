/** OpenTelemetry logs by OTLP/HTTP in JSON (opentelemetry.io/docs/specs/otlp). The event's id is the attribute `log.record.uid`, which is for that. */
import { type Outcome, refused, TAKEN } from './destination.ts';
import type { Message } from './format.ts';
import { type Answer, type HttpKind, jsonOf } from './http.ts';

/** By `severity_id` of OCSF: severity number and text. */
const SEVERITIES: readonly (readonly [number, string])[] = [
  [9, 'INFO'],
  [9, 'INFO'],
  [10, 'INFO2'],
  [13, 'WARN'],
  [17, 'ERROR'],
  [21, 'FATAL'],
];

const attribute = (key: string, value: string): object => ({ key, value: { stringValue: value } });

export const otlp = (version: string, attributes: Readonly<Record<string, string>>): HttpKind => ({
  path: '/v1/logs',
  contentType: 'application/json',
  encode: (messages) =>
    JSON.stringify({
      resourceLogs: [
        {
          resource: {
            attributes: Object.entries({ 'service.name': 'sluice', 'service.version': version, ...attributes }).map(([key, value]) =>
              attribute(key, value),
            ),
          },
          scopeLogs: [{ scope: { name: 'sluice.record', version }, logRecords: messages.map(record) }],
        },
      ],
    }),
  accepted,
});

function record({ id, kind, severity, json, unixNanos }: Message): object {
  const [severityNumber, severityText] = SEVERITIES[severity] ?? [9, 'INFO'];
  return {
    timeUnixNano: String(unixNanos),
    observedTimeUnixNano: String(unixNanos),
    severityNumber,
    severityText,
    eventName: `sluice.${kind}`,
    body: { stringValue: json },
    attributes: [attribute('log.record.uid', id), attribute('event.kind', kind)],
  };
}

/** Some were rejected, and which is not said: alone, each says it of itself. */
function accepted(answer: Answer): Outcome {
  const { partialSuccess } = (jsonOf(answer) ?? {}) as {
    readonly partialSuccess?: { readonly rejectedLogRecords?: string | number; readonly errorMessage?: string };
  };
  const rejected = Number(partialSuccess?.rejectedLogRecords ?? 0);
  return rejected > 0 ? refused(`${rejected} rejected: ${partialSuccess?.errorMessage ?? ''}`.slice(0, 300)) : TAKEN;
}
