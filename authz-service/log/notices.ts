/**
 * The notices that the service alone tells, all of them: a verifier takes some for the reason why events are not there, a restore others for the legal holds in force. No filter's
 * stream may have one in it. (`tap-opened` is of both: a filter says so that it is there.)
 */
export const SERVICE_NOTICES = [
  'tap-gap',
  'service-started',
  'policy-reloaded',
  'policy-refused',
  'configuration-changed',
  'keys-listed',
  'loss-accepted',
  'legal-hold-added',
  'legal-hold-released',
  'details-deleted',
  'leaves-pruned',
  'unsigned-restored',
  'store-proven',
  'store-away',
  'store-unfit',
  'retention-suspended',
  'retention-stalled',
  'retention-resumed',
  'clock-confirmed',
] as const;

export type ServiceNotice = (typeof SERVICE_NOTICES)[number];

const NAMES: ReadonlySet<string> = new Set(SERVICE_NOTICES);

export const isServiceNotice = (name: string): name is ServiceNotice => NAMES.has(name);
