/** A logged-in client of the gateway that the command names. */
import { type AdminClient, adminClient } from './admin_client.ts';
import { bearerToken } from './bearer_token.ts';
import type { Invocation } from './command.ts';
import { adminPlace } from './place.ts';

export const connected = async (invocation: Invocation): Promise<AdminClient> => adminClient(adminPlace(invocation), await bearerToken());
