/** What a request that is let through leaves in the record: first by the service, then by the filter. */
import { closedBody, type TapBody } from '../../../authz-service/tap/schema.ts';
import { judged, opened } from '../../../authz-service/verify/log.fixture.ts';

export const BODIES: readonly (readonly TapBody[])[] = [
  [opened, judged('allow')],
  [
    { kind: 'request_forwarded', emitter: '' },
    {
      kind: 'response_finished',
      outcome: 'complete',
      status: 200,
      requestBytes: 0,
      responseBytes: 1077,
      durationMicros: 5210,
      firstByteMicros: 4810,
      masked: [{ rule: '**.ssn', count: 1 }],
      reason: '',
    },
    closedBody('complete'),
  ],
];
