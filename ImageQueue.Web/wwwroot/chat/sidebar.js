// The list of conversations: beside the thread, or a drawer on narrow screens.

import * as store from './conversations.js';
import * as memory from './memory.js';
import { setText, text } from './page.js';

const element = id => document.getElementById(id);
const narrow = matchMedia('(max-width: 53rem)');
const mostPages = 20;

/** One form for all cases of a letter, in Turkish and English. */
const fold = words => words.normalize('NFC').replace(/[İIı]/g, 'i').toLowerCase();

export class Sidebar {
  #isOpen = false;
  #currentId = null;
  #actions;

  /** @param actions { onNew(), onOpen(id), onErase(id), onRename(id, title) } */
  constructor(actions) {
    this.#actions = actions;
    element('new-conversation').addEventListener('click', () => {
      this.close();
      actions.onNew();
    });
    element('open-sidebar').addEventListener('click', () => this.#setOpen(true));
    element('close-sidebar').addEventListener('click', () => this.close());
    element('backdrop').addEventListener('click', () => this.close());
    element('sidebar').addEventListener('keydown', event => event.key === 'Escape' && this.close());
    element('conversation-search').addEventListener('input', () => this.#search());
    element('more-conversations').addEventListener('click', () => store.loadMore());
    narrow.addEventListener('change', () => this.#setOpen(false));
    this.#setOpen(false);
  }

  close() {
    if (this.#isOpen) this.#setOpen(false);
  }

  show(currentId) {
    this.#currentId = currentId;
    if (element('conversation-list').querySelector('form')) return; // A title is being written.
    const words = fold(element('conversation-search').value.trim());
    const all = memory.name() ? store.conversations() : [];
    const shown = all.filter(one => fold(one.title ?? '').includes(words));
    const focused = document.activeElement?.closest('.conversation [data-part]');
    const focusedId = focused?.closest('.conversation').dataset.id;

    element('conversation-search').hidden = all.length < 2 && !words;
    element('no-conversations').hidden = shown.length > 0;
    setText(element('no-conversations'), text(words ? 'NoneFound' : 'NoConversations'));
    element('more-conversations').hidden = !store.hasMore();
    element('conversation-list').replaceChildren(...shown.map(one => this.#item(one)));
    if (focused) this.#part(focusedId, focused.dataset.part)?.focus();
  }

  #item(conversation) {
    const item = element('conversation-item').content.firstElementChild.cloneNode(true);
    const part = name => item.querySelector(`[data-part=${name}]`);
    const title = conversation.title || text('NewConversation');
    const known = memory.conversation(conversation.id);
    item.dataset.id = conversation.id;
    item.dataset.state = known?.pending.length > 0 ? 'pending' : known?.news ? 'news' : '';
    setText(part('title'), title);
    part('link').href = `?c=${encodeURIComponent(conversation.id)}`;
    if (conversation.id === this.#currentId) part('link').setAttribute('aria-current', 'page');
    part('link').addEventListener('click', event => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.close();
      this.#actions.onOpen(conversation.id);
    });
    for (const [name, label] of [['rename', 'RenameConversation'], ['erase', 'EraseConversation']]) {
      part(name).setAttribute('aria-label', `${text(label)}: ${title}`);
      part(name).title = text(label);
    }
    part('rename').addEventListener('click', () => this.#rename(item, conversation));
    part('erase').addEventListener('click', () => this.#actions.onErase(conversation.id));
    return item;
  }

  #part(id, name) {
    return element('conversation-list').querySelector(`[data-id="${CSS.escape(id)}"] [data-part=${name}]`);
  }

  /** Enter keeps the new title, Escape the old one. */
  #rename(item, conversation) {
    const form = document.createElement('form');
    const input = document.createElement('input');
    Object.assign(input, { value: conversation.title ?? '', maxLength: 100, required: true });
    input.setAttribute('aria-label', text('RenameConversation'));
    form.className = 'rename';
    form.append(input);
    let isDone = false;
    const done = title => {
      if (isDone) return;
      isDone = true;
      form.remove();
      if (title && title !== conversation.title) this.#actions.onRename(conversation.id, title);
      this.show(this.#currentId);
      this.#part(conversation.id, 'link')?.focus();
    };
    form.addEventListener('submit', event => {
      event.preventDefault();
      done(input.value.trim());
    });
    input.addEventListener('keydown', event => {
      if (event.key !== 'Escape') return;
      event.stopPropagation();
      done('');
    });
    input.addEventListener('blur', () => done(input.value.trim()));
    item.replaceChildren(form);
    input.focus();
    input.select();
  }

  /** Searches all conversations: the pages that are not loaded yet are loaded first. */
  async #search() {
    this.show(this.#currentId);
    for (let page = 0; page < mostPages && store.hasMore(); page++) await store.loadMore();
    this.show(this.#currentId);
  }

  /** An open drawer makes the page inert, a closed one itself. */
  #setOpen(open) {
    const wasOpen = this.#isOpen;
    this.#isOpen = open && narrow.matches;
    element('app').classList.toggle('drawer-open', this.#isOpen);
    element('sidebar').inert = narrow.matches && !this.#isOpen;
    element('main').inert = this.#isOpen;
    element('open-sidebar').setAttribute('aria-expanded', String(this.#isOpen));
    if (this.#isOpen) element('close-sidebar').focus();
    else if (wasOpen) element('open-sidebar').focus();
  }
}
