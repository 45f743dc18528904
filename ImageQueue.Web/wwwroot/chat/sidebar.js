// The list of conversations: beside the thread, or a drawer on narrow screens.

import * as memory from './memory.js';
import { setText, text } from './page.js';

const element = id => document.getElementById(id);
const narrow = matchMedia('(max-width: 53rem)');

export class Sidebar {
  #isOpen = false;
  #actions;

  /** @param actions { onNew(), onOpen(id), onForget(id) } */
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
    narrow.addEventListener('change', () => this.#setOpen(false));
    this.#setOpen(false);
  }

  close() {
    if (this.#isOpen) this.#setOpen(false);
  }

  show(currentId) {
    const conversations = memory.name() ? memory.conversations() : [];
    const template = element('conversation-item').content.firstElementChild;
    const focused = document.activeElement?.closest?.('.conversation')?.dataset.id;

    element('no-conversations').hidden = conversations.length > 0;
    element('conversation-list').replaceChildren(...conversations.map(conversation => {
      const item = template.cloneNode(true);
      const part = name => item.querySelector(`[data-part=${name}]`);
      const title = conversation.title || text('NewConversation');
      item.dataset.id = conversation.id;
      item.dataset.state = conversation.pending?.length > 0 ? 'pending' : conversation.news ? 'news' : '';
      setText(part('title'), title);
      part('link').href = `?c=${encodeURIComponent(conversation.id)}`;
      if (conversation.id === currentId) part('link').setAttribute('aria-current', 'page');
      part('link').addEventListener('click', event => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        this.close();
        this.#actions.onOpen(conversation.id);
      });
      part('remove').setAttribute('aria-label', `${text('RemoveConversation')}: ${title}`);
      part('remove').title = text('RemoveConversation');
      part('remove').addEventListener('click', () => this.#actions.onForget(conversation.id));
      return item;
    }));
    if (focused) element('conversation-list').querySelector(`[data-id="${CSS.escape(focused)}"] a`)?.focus();
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
