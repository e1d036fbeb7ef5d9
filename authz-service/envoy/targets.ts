/** Which targets a part of the generated configuration is about. */
import type { Config, HttpTarget, PostgresTarget } from '../config/config.ts';

export const databasesOf = ({ targets }: Config): PostgresTarget[] => targets.filter((target) => target.protocol === 'postgres');

/** The HTTP targets of a listener. */
export const sitesOf = ({ targets }: Config, listener: string): HttpTarget[] =>
  targets.filter((target) => target.protocol === 'http').filter((target) => target.listener === listener);

/** The databases that are reached by CONNECT through a listener. */
export const tunnelsOf = (config: Config, listener: string): PostgresTarget[] =>
  databasesOf(config).filter((target) => target.tunnel === listener);
