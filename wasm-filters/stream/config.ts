// The plugin's configuration of a network filter: what TapConfig reads, and where it is.
import { Scanner } from '../abi/flat_json';
import { isCluster, TapConfig } from '../tap/config';

const MAX_TARGET = 128;

export class StreamConfig extends TapConfig {
  /** The configured name of the target behind this listener. */
  target: string = '';
  /** The cluster of the session door. */
  doorCluster: string = '';

  protected member(name: string, scanner: Scanner): bool {
    if (name == 'target') {
      this.target = scanner.string();
      return this.target.length > 0 && this.target.length <= MAX_TARGET;
    }
    if (name == 'door_cluster') {
      this.doorCluster = scanner.string();
      return isCluster(this.doorCluster);
    }
    return super.member(name, scanner);
  }

  get whole(): bool {
    return this.tapCluster.length > 0 && this.doorCluster.length > 0 && this.target.length > 0;
  }
}
