// The chat page: opens conversations and connects feed, thread, sidebar and composer.

import { refreshAbilities } from './abilities.js';
import { announce } from './announcer.js';
import { getMessage, getQueue } from './api.js';
import { Composer } from './composer.js';
import * as store from './conversations.js';
import { openEditor } from './editor.js';
import { Feed } from './feed.js';
import * as memory from './memory.js';
import { fromRow, isUnfinished, Messages } from './messages.js';
import { offerNotifications, imageReady, showTitle } from './notices.js';
import { setText, text } from './page.js';
import { refreshQueueSoon, watchQueue } from './queue.js';
import { Sidebar } from './sidebar.js';
import { describe, say, titleFrom } from './speech.js';
import { Thread } from './thread.js';
import { hideToast, showToast } from './toast.js';

const element = id => document.getElementById(id);
const offlineDelay = 800;

/** The open conversation; its id is null until its first message was sent. */
let current = { id: null, feed: null, messages: new Messages(() => {}) };
let offlineTimer = 0;

const sidebar = new Sidebar({ onNew: () => go(null), onOpen: id => go(id), onErase: erase, onRename: rename });
const composer = new Composer(sent);
const thread = new Thread({
  onRow: act,
  onReuse: message => composer.fill(message.prompt, message.settings),
  onSettings: message => composer.useSettings(message.settings),
  onAgain: message => composer.again(message),
  onVary: message => composer.vary(message),
  onEdit: message => {
    const { conversationId } = composer; // Another one may be open when the mask is uploaded.
    openEditor(message, conversationId, image => composer.request(image, image.prompt, conversationId));
  },
  onUpscale: ({ id, prompt }, upscale) => composer.request({ source: { message_id: Number(id), upscale } }, prompt),
  onRefresh: () => current.feed?.refresh(),
});

start();

function start() {
  offerNotifications();
  watchQueue(async () => {
    await refreshAbilities();
    await pollOtherConversations();
  });
  memory.onOtherTab(() => store.refresh());
  store.watchConversations(() => {
    sidebar.show(current.id);
    if (!element('chat').hidden) showHeading();
  });
  store.refresh();
  element('toast-undo').addEventListener('click', undoErase);
  addEventListener('offline', checkConnection);
  addEventListener('online', () => !isListening() && showConnection(true));
  addEventListener('popstate', () => open(idInAddress()));
  element('name-form').addEventListener('submit', nameChosen);
  element('change-name').addEventListener('click', () => {
    sidebar.close();
    showWelcome();
  });
  element('name-back').addEventListener('click', showChat);
  element('earlier').addEventListener('click', showEarlier);
  element('language').addEventListener('click', chooseLanguage);
  element('thread-reload').addEventListener('click', () => open(current.id));
  for (const example of document.querySelectorAll('.example'))
    example.addEventListener('click', () => composer.fill(example.textContent));

  if (memory.name()) open(idInAddress());
  else showWelcome();
}

// --- The name ---

function showWelcome() {
  element('chat').hidden = true;
  element('welcome').hidden = false;
  element('name-back').hidden = !memory.name();
  element('name').value = memory.name() ?? '';
  setText(element('title'), 'ImageQueue');
  showTitle('', []);
  sidebar.show(current.id);
  element('name').focus();
  element('name').select();
}

function showChat() {
  element('welcome').hidden = true;
  element('chat').hidden = false;
  element('change-name').hidden = false;
  setText(element('current-name'), memory.name());
  setText(element('empty-title'), text('EmptyTitle', { name: memory.name() }));
  showHeading();
  sidebar.show(current.id);
}

function nameChosen(event) {
  event.preventDefault();
  const name = element('name').value.trim();
  setText(element('name-problem'), name ? '' : text('NameMissing'));
  element('name').setAttribute('aria-invalid', String(!name));
  if (!name) {
    element('name').focus();
    return;
  }

  // Another name has other conversations. A first name opens the conversation in the address.
  const another = memory.name() !== null && memory.name() !== name;
  memory.setName(name);
  store.refresh();
  if (another) go(null);
  else open(idInAddress());
}

// --- Conversations ---

function idInAddress() {
  return new URLSearchParams(location.search).get('c');
}

function go(id) {
  if (id !== idInAddress()) history.pushState(null, '', id === null ? location.pathname : `?c=${encodeURIComponent(id)}`);
  open(id);
}

function open(id) {
  current.feed?.stop();
  showConnection(true);
  element('thread-problem').hidden = true;

  const messages = new Messages((message, before) => messages === current.messages && changed(message, before));
  current = { id, messages, feed: null };
  thread.reset(messages);
  element('earlier').hidden = true;
  showOwner(undefined);
  composer.open(id);
  if (id !== null) {
    if (memory.conversation(id)?.news) memory.keepConversation(id, { news: false });
    showLoading(true);
    listen();
  } else {
    showLoading(false);
  }
  showChat();
  if (matchMedia('(hover: hover)').matches) composer.focus();
}

function listen() {
  const { id, messages } = current;
  const feed = new Feed(id, messages, {
    onConnection: isConnected => feed === current.feed && showConnection(isConnected),
    onLoaded: owner => feed === current.feed && loaded(owner),
    onRefused: error => feed === current.feed && refused(error),
  });
  current.feed = feed;
  feed.start();
}

function loaded(owner) {
  showLoading(false);
  showOwner(owner);
  element('earlier').hidden = !current.feed.hasEarlier;
  element('thread-problem').hidden = true;
  thread.reloadImages();
  remember();
}

/** A link to another user's conversation opens it read-only. */
function showOwner(owner) {
  const isForeign = owner !== undefined && owner !== memory.name();
  element('chat').classList.toggle('read-only', isForeign);
  element('composer').inert = isForeign;
  element('read-only').hidden = !isForeign;
  if (isForeign) setText(element('read-only'), text('ReadOnly', { name: owner }));
}

async function showEarlier() {
  const { feed } = current;
  const button = element('earlier');
  button.disabled = true;
  try {
    await thread.keepPlace(() => feed.loadEarlier());
  } catch (error) {
    announce('earlier', error.message);
    feed.refresh();
  } finally {
    button.disabled = false;
    if (feed === current.feed) button.hidden = !feed.hasEarlier;
  }
}

/** The server renders the language; the page keeps its address. */
function chooseLanguage(event) {
  event.preventDefault();
  const query = new URLSearchParams(location.search);
  query.set('lang', event.currentTarget.lang);
  location.search = query;
}

/** A conversation without messages does not exist yet: a 404 is no error. */
function refused(error) {
  showLoading(false);
  if (error.status === 404) return;
  setText(element('thread-problem-text'), error.message);
  element('thread-problem').hidden = false;
  element('empty').hidden = true;
}

/** Hides the conversation at once and erases it a little later, so that it can be brought back. */
function erase(id) {
  memory.forgetConversation(id);
  store.erase(id, error => showToast(error.message));
  if (id === current.id) go(null);
  showToast(text('ConversationErased'), true);
}

function undoErase() {
  store.undoErase();
  hideToast();
}

function rename(id, title) {
  store.rename(id, title).catch(error => showToast(error.message));
}

function showLoading(isLoading) {
  element('loading').hidden = !isLoading;
  element('thread').setAttribute('aria-busy', String(isLoading));
  showEmpty(isLoading);
}

function showEmpty(isLoading = false) {
  element('empty').hidden = isLoading || current.messages.all().length > 0;
}

function showHeading() {
  const first = current.messages.all().find(message => message.prompt || message.content);
  const known = current.id === null ? '' : store.titleOf(current.id);
  const title = titleFrom(known || first?.prompt || first?.content || '');
  setText(element('title'), title || text('NewConversation'));
  showTitle(title, current.messages.unfinished);
}

/** Keeps which images of the open conversation are pending. */
function remember() {
  if (current.id !== null) memory.keepConversation(current.id, { pending: current.messages.unfinished.map(message => message.id), news: false });
  sidebar.show(current.id);
}

// --- Messages ---

/** A request was accepted: one message, or several of a group. */
function sent(rows, { conversationId, prompt, askedAt, isHere }) {
  const known = memory.conversation(conversationId);
  memory.keepConversation(conversationId, { pending: [...new Set([...(known?.pending ?? []), ...rows.map(row => String(row.id))])] });
  store.touch(conversationId, titleFrom(prompt));

  if (isHere) {
    if (current.id === null) {
      current.id = conversationId;
      history.replaceState(null, '', `?c=${encodeURIComponent(conversationId)}`);
      composer.adopt(conversationId);
    }
    current.messages.load(rows, askedAt);
    thread.scrollToNewest(true);
    refreshQueueSoon();
    if (current.feed === null) listen();
    else current.feed.refresh();
  }
  sidebar.show(current.id);
}

/** Cancel or retry: the answer is the message. */
async function act(call, id) {
  const { messages } = current;
  const askedAt = performance.now();
  messages.load([await call(id)], askedAt);
}

function changed(message, before) {
  if (message === null) {
    thread.remove(before);
    showEmpty();
    refreshQueueSoon();
    return;
  }

  thread.show(message);
  showEmpty();
  showHeading();
  if (before && before.status !== message.status) {
    refreshQueueSoon();
    remember();
    if (message.status === 'complete') imageReady(message);
  }
  say(message, before);
}

/** Polls pending images of other conversations: the page has no event stream for those. */
async function pollOtherConversations() {
  await store.refresh();
  for (const { id, pending } of memory.conversations()) {
    if (id === current.id || !pending?.length) continue;
    for (const messageId of pending) {
      const message = await getMessage(messageId).then(row => fromRow(row), missing);
      if (isUnfinished(message)) continue;
      const rest = (memory.conversation(id)?.pending ?? []).filter(one => one !== messageId);
      memory.keepConversation(id, { pending: rest, news: message.status !== null });
      if (message.status === null) continue;
      if (message.status === 'complete') imageReady(message);
      announce(message.id, describe(message));
      sidebar.show(current.id);
    }
  }
}

/** An erased message is never finished: stop polling it. */
function missing(error) {
  if (error.status === 404 || error.status === 403) return { status: null };
  throw error;
}

// --- The connection ---

const isListening = () => current.feed !== null && !current.feed.isRefused;

/** The browser reports no network; a server on this machine may still answer. */
function checkConnection() {
  showConnection(false);
  if (isListening()) current.feed.refresh();
  else getQueue().then(() => showConnection(true), () => {});
}

/** A connection that recovers within a moment shows no notice. */
function showConnection(isConnected) {
  const offline = element('offline');
  if (isConnected) {
    clearTimeout(offlineTimer);
    offlineTimer = 0;
    if (!offline.hidden) announce('connection', text('BackOnline'));
    offline.hidden = true;
  } else if (offlineTimer === 0) {
    offlineTimer = setTimeout(() => { offline.hidden = false; }, offlineDelay);
  }
}
