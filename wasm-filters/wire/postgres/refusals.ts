// The refusals of the filter's own making.
import { utf8 } from '../../abi/bytes';
import { Refusal, RefusalKind } from '../../stream/door';

/** The host does not tell which it was once it has tried again. */
const UNREACHABLE = utf8(
  'Nothing was sent to it. Try again in a moment. If that does not help, whoever runs the gateway can look whether the target is up and, with `tls`, whether its CA and name fit the certificate.',
);

export function unavailable(text: string): Refusal {
  return Refusal.of(RefusalKind.UNAVAILABLE, '', text);
}

export function unreachable(): Refusal {
  const refusal = Refusal.of(RefusalKind.UNAVAILABLE, '08001', 'the target cannot be reached from the gateway');
  refusal.hint = UNREACHABLE;
  return refusal;
}

export function violation(text: string): Refusal {
  return Refusal.of(RefusalKind.UNSUPPORTED, '08P01', text);
}

export function unsupported(text: string): Refusal {
  return Refusal.of(RefusalKind.UNSUPPORTED, '0A000', text);
}

export function tooLong(): Refusal {
  return Refusal.of(RefusalKind.UNSUPPORTED, '54000', 'a statement longer than 1 MiB is not judged, and so does not run');
}

export function notUtf8(): Refusal {
  return Refusal.of(RefusalKind.UNSUPPORTED, '22021', 'the statement is not UTF-8');
}

export function nameTooLong(): Refusal {
  return Refusal.of(RefusalKind.UNSUPPORTED, '42622', 'a name longer than 63 bytes');
}

export function reserved(): Refusal {
  return Refusal.of(RefusalKind.UNSUPPORTED, '42939', 'names that begin with _sluice are the gateway’s own');
}

export function expired(): Refusal {
  return Refusal.of(RefusalKind.UNAUTHENTICATED, '', 'the token that this session was opened with has expired: connect again');
}

export function stale(): Refusal {
  return Refusal.of(RefusalKind.UNSUPPORTED, '40001', 'the policy or the catalog has changed since this was bound: bind it again');
}

export function unrecorded(): Refusal {
  return unavailable('commands cannot be recorded now, and so do not run');
}

export function noPortal(name: string): Refusal {
  return Refusal.of(RefusalKind.UNSUPPORTED, '34000', `portal "${name}" does not exist`);
}
