import { existsSync } from 'node:fs';

/** Where distributions keep the CA certificates of public authorities; Envoy wants to be told. */
export const BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt', // Debian, Alpine, Arch
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem', // Fedora, RHEL
  '/etc/ssl/ca-bundle.pem', // openSUSE
  '/etc/ssl/cert.pem', // macOS, BSD
] as const;

/** The system's CA bundle, or undefined where none is known. */
export const systemCa = (): string | undefined => BUNDLES.find((bundle) => existsSync(bundle));
