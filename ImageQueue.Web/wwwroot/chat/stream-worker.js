// A browser's single event stream for the conversations of all its tabs. Each tab gets its own events.

const settle = 50;
const silence = 180_000;
const mostConversations = 100;
const tabs = new Map();

let source = null;
let streamed = '';
let lastId = '';
let timer = 0;

globalThis.addEventListener('connect', ({ ports: [port] }) => {
  port.addEventListener('message', ({ data }) => {
    if (data.close) {
      tabs.delete(port);
      port.close();
    } else if (data.conversation !== undefined) {
      tabs.set(port, { conversation: data.conversation, root: data.root, heardAt: performance.now(), isOpen: false });
    } else if (tabs.has(port)) {
      tabs.get(port).heardAt = performance.now();
    } else {
      port.postMessage({ type: 'error', isClosed: true }); // A frozen tab was dropped and is back: it reconnects.
    }
    // Several tabs come or go at once when a window opens or closes.
    clearTimeout(timer);
    timer = setTimeout(connect, settle);
  });
  port.start();
});

function connect() {
  for (const [port, tab] of tabs) if (performance.now() - tab.heardAt > silence) tabs.delete(port);

  const wanted = [...new Set([...tabs.values()].map(tab => tab.conversation))].sort().slice(-mostConversations);
  if (wanted.length === 0) {
    disconnect();
    return;
  }

  const query = new URLSearchParams(wanted.map(id => ['conversation_id', id]));
  if (source !== null && streamed === query.toString()) {
    if (source.readyState === EventSource.OPEN) opened();
    return;
  }

  disconnect();
  streamed = query.toString();
  if (lastId !== '') query.set('last_event_id', lastId);
  else for (const tab of tabs.values()) tab.isOpen = false; // Nothing says where to go on from: each tab reads again.
  const [{ root }] = tabs.values();
  const stream = new EventSource(`${root}api/events?${query}`);
  source = stream;
  stream.addEventListener('open', opened);
  stream.addEventListener('error', () => {
    if (stream !== source) return;
    const isClosed = stream.readyState === EventSource.CLOSED;
    if (isClosed) disconnect();
    for (const [port, tab] of tabs) {
      tab.isOpen = false;
      port.postMessage({ type: 'error', isClosed });
    }
    if (isClosed) tabs.clear(); // Each tab reconnects after its own pause.
  });
  for (const type of ['image_progress', 'message']) stream.addEventListener(type, event => pass(type, event));
}

function disconnect() {
  source?.close();
  source = null;
  streamed = '';
}

/** A tab that joins an open or reopened stream reads what it may have missed. */
function opened() {
  for (const [port, tab] of tabs) {
    if (tab.isOpen) continue;
    tab.isOpen = true;
    port.postMessage({ type: 'open' });
  }
}

function pass(type, { data, lastEventId }) {
  lastId = lastEventId;
  let conversation;
  try {
    conversation = JSON.parse(data).conversation_id;
  } catch {
    return; // Truncated: the read after the next connection includes it.
  }
  for (const [port, tab] of tabs) if (tab.conversation === conversation) port.postMessage({ type, data });
}
