/** Certificates for tests, by the openssl command: a CA, and leaves of it. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

const openssl = (...args: string[]): void => void execFileSync('openssl', args, { stdio: 'pipe' });

/** @returns paths of PEM files in `dir`. */
export function authority(dir: string, name: string): KeyPair & { issue(leaf: string, names: readonly string[]): KeyPair } {
  const file = (kind: string): string => join(dir, `${name}.${kind}`);
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    file('key'),
    '-out',
    file('crt'),
    '-days',
    '2',
    '-subj',
    `/CN=${name}`,
    '-addext',
    'basicConstraints=critical,CA:TRUE',
  );
  return {
    certificate: file('crt'),
    key: file('key'),
    issue(leaf, names) {
      const at = (kind: string): string => join(dir, `${leaf}.${kind}`);
      writeFileSync(at('ext'), `subjectAltName=${names.map((one) => (/^[\d.]+$/.test(one) ? `IP:${one}` : `DNS:${one}`)).join(',')}\n`);
      openssl(
        'req',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-keyout',
        at('key'),
        '-out',
        at('csr'),
        '-subj',
        `/CN=${leaf}`,
      );
      openssl(
        'x509',
        '-req',
        '-in',
        at('csr'),
        '-CA',
        file('crt'),
        '-CAkey',
        file('key'),
        '-CAcreateserial',
        '-out',
        at('crt'),
        '-days',
        '2',
        '-extfile',
        at('ext'),
      );
      return { certificate: at('crt'), key: at('key') };
    },
  };
}
