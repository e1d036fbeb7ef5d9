/** A server under measure, in a process of its own: it says `ready`, and tells its CPU time, all threads included, when asked. */
export function serve(): void {
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    process.send?.({ cpuMicros: user + system });
  });
  process.on('disconnect', () => process.exit(0));
  process.send?.('ready');
}
