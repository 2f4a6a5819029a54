// Ports for servers that a test starts: below those that the system gives to outgoing connections, which come and go meanwhile.
import { createServer } from 'node:net';

const bound = (port) =>
  new Promise((done) => {
    const server = createServer();
    server.on('error', () => done(undefined));
    server.listen(port, '127.0.0.1', () => done(server));
  });

/** A server of our own on a port, and the port. */
export async function takePort() {
  for (;;) {
    const port = 10000 + Math.floor(Math.random() * 20000);
    const server = await bound(port);
    if (server) return { port, server };
  }
}

/** A port on which nobody listens. */
export async function freePort() {
  const { port, server } = await takePort();
  await new Promise((done) => server.close(done));
  return port;
}
