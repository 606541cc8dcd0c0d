/** A running emulator. */
export interface Emulator {
  /** The HSM's URL. */
  url: string;
  /** The URL of the first vault, if one is served (`--vault NAME`). */
  vaultUrl?: string;
  /** The PEM file of the CA to trust. */
  caFile: string;
  /** For clients of Microsoft's libraries: `new KeyClient(url, credential, { tlsOptions })`. */
  tlsOptions: { ca: string };
  /** The variables with which other programs use it as its owner. NODE_EXTRA_CA_CERTS counts for new processes only. */
  environment: Record<string, string>;
  /** What it has printed so far: a line for each request. */
  log(): string;
  /** A bearer token, of the owner or of the principal with this object id. */
  token(options?: { audience?: string; expiresIn?: number; principal?: string }): Promise<string>;
  /** Ends it, and removes its temporary folder. */
  stop(): Promise<void>;
}

/**
 * Starts an emulator.
 *
 * @param options of `managed-hsm-emulator serve`, such as `["--vault", "MyVault"]`
 * @throws Error, with what it said, where it doesn't start within `waitSeconds` (30)
 */
export function start(options?: string[], waiting?: { waitSeconds?: number }): Promise<Emulator>;

/** The path of the program. */
export function program(): string;
