// Ids that the browser creates.

const alphabet = 'abcdefghijkmnpqrstuvwxyz23456789';

function random(length) {
  return [...crypto.getRandomValues(new Uint8Array(length))].map(byte => alphabet[byte % alphabet.length]).join('');
}

/** A conversation id that is readable in logs and unguessable. */
export function newConversationId(name) {
  const slug = name
    .toLocaleLowerCase('tr')
    .replaceAll('ı', 'i')
    .normalize('NFD')
    .replace(/\p{M}/gu, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 24);
  return `${slug || 'chat'}-${random(12)}`;
}

/** randomUUID exists only over HTTPS and on localhost. */
export function newKey() {
  return crypto.randomUUID?.() ?? random(32);
}
