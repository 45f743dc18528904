// Names for things that this browser makes up.

const alphabet = 'abcdefghijkmnpqrstuvwxyz23456789';

function random(length) {
  return [...crypto.getRandomValues(new Uint8Array(length))].map(byte => alphabet[byte % alphabet.length]).join('');
}

/** A conversation's id: readable in logs, and not to be guessed. */
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

/** randomUUID exists only over HTTPS and on localhost; a demo in the office network has neither. */
export function newKey() {
  return crypto.randomUUID?.() ?? random(32);
}
