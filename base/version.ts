/** Version of this program, as in package.json (a test holds them together): written into what it saves. */
export const SOMA_VERSION = "0.1.0";
