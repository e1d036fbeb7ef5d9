/** A request of nobody for nothing, in the shape that every request has: what a policy is tried and warmed with. */
import type { Request } from '../decision/request.ts';

const REQUEST: Request = {
  time: { now: '2000-01-01T00:00:00.000Z', unix: 946_684_800 },
  identity: {
    id: 'probe:probe',
    issuer: 'probe',
    subject: 'probe',
    name: '',
    kind: 'workload',
    client: '',
    tenant: '',
    groups: [],
    roles: [],
    scopes: [],
  },
  run: { id: '', on_behalf_of: '', source: 'none' },
  target: { name: 'probe', protocol: 'http', labels: {} },
  session: { id: 'probe' },
  request: {
    protocol: 'http',
    method: 'GET',
    host: 'probe',
    path: '/',
    segments: [''],
    query: {},
    headers: {},
    content_type: '',
    body: { size: 0, sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' },
  },
};

export const SAMPLE = JSON.stringify(REQUEST);
