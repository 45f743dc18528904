// The open conversation's messages in order, scrolled to the newest.

import { Card, fileName } from './card.js';
import { Group } from './group.js';
import { openLightbox } from './lightbox.js';
import { renderMarkdown } from './markdown.js';
import { address } from './page.js';

const near = 120;

export class Thread {
  #list = document.getElementById('messages');
  #scroller = document.getElementById('thread');
  #toNewest = document.getElementById('to-newest');
  #items = new Map();
  #groups = new Map();
  #actions;
  #follows = true;
  #height = 0;
  #visibleHeight = 0;
  #messages = null;

  /** @param actions { onRow(call, id), onReuse(message), onSettings(message), onAgain(message), onVary(message), onEdit(message), onUpscale(message, factor), onRefresh() } */
  constructor(actions) {
    this.#actions = { ...actions, onOpen: message => this.#open(message) };
    this.#scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    this.#toNewest.addEventListener('click', () => this.scrollToNewest(true));
    // Images, notices and keyboards change the height: stay at the end.
    const observer = new ResizeObserver(() => this.#follows && this.scrollToNewest());
    observer.observe(this.#list);
    observer.observe(this.#scroller);
    setInterval(() => this.#tick(), 1_000);
  }

  /** Empties the thread, for another conversation. */
  reset(messages) {
    this.#messages = messages;
    this.#items.clear();
    this.#groups.clear();
    this.#list.replaceChildren();
    this.#follows = true;
    this.#toNewest.hidden = true;
  }

  show(message) {
    let item = this.#items.get(message.id);
    if (item) {
      item.show(message);
    } else {
      item = message.kind === 'image' ? new Card(message, this.#actions) : new TextMessage(message);
      this.#items.set(message.id, item);
    }

    const group = message.groupId ? this.#groupOf(message) : null;
    insert(group?.grid ?? this.#list, item.element, message.order);
    group?.show(item, message);
  }

  /** Removes an erased message. */
  remove(message) {
    this.#items.get(message.id)?.element.remove();
    this.#items.delete(message.id);
    const group = this.#groups.get(message.groupId);
    group?.remove(message.id);
    if (!group?.isEmpty) return;
    group.element.remove();
    this.#groups.delete(message.groupId);
  }

  #groupOf({ groupId, order }) {
    if (!this.#groups.has(groupId)) this.#groups.set(groupId, new Group(this.#actions));
    const group = this.#groups.get(groupId);
    insert(this.#list, group.element, Math.min(order, Number(group.element.dataset.order ?? order)));
    return group;
  }

  /** Inserts earlier messages without moving the visible ones. */
  async keepPlace(load) {
    const fromEnd = this.#scroller.scrollHeight - this.#scroller.scrollTop;
    this.#follows = false;
    await load();
    this.#scroller.scrollTo({ top: this.#scroller.scrollHeight - fromEnd, behavior: 'instant' });
  }

  reloadImages() {
    for (const item of this.#items.values()) item.reloadImage();
  }

  scrollToNewest(smoothly = false) {
    this.#follows = true;
    this.#toNewest.hidden = true;
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    this.#scroller.scrollTo({ top: this.#scroller.scrollHeight, behavior: smoothly && !calm ? 'smooth' : 'instant' });
  }

  #scrolled() {
    // A scroll caused by a change of height is not the user's scroll.
    const { scrollHeight, clientHeight } = this.#scroller;
    const isMoved = scrollHeight !== this.#height || clientHeight !== this.#visibleHeight;
    [this.#height, this.#visibleHeight] = [scrollHeight, clientHeight];
    if (isMoved && this.#follows) {
      this.scrollToNewest();
      return;
    }

    const below = this.#scroller.scrollHeight - this.#scroller.scrollTop - this.#scroller.clientHeight;
    this.#follows = below < near;
    this.#toNewest.hidden = below < near * 3;
  }

  #tick() {
    if (!document.hidden) for (const item of this.#items.values()) item.tick();
  }

  #open(message) {
    const done = this.#messages.all().filter(one => one.status === 'complete' && one.imageUrl);
    openLightbox(
      done.map(one => ({ url: address(one.imageUrl), prompt: one.prompt, fileName: fileName(one.id) })),
      done.findIndex(one => one.id === message.id));
  }
}

/** Puts an element into a list that is in order. */
function insert(list, element, order) {
  if (element.parentElement === list && element.dataset.order === String(order)) return;
  element.dataset.order = order;
  const later = [...list.children].find(child => child !== element && Number(child.dataset.order) > order);
  list.insertBefore(element, later ?? null);
}

/** A text message. */
class TextMessage {
  #shown = {};

  constructor(message) {
    this.element = document.getElementById('text-message').content.firstElementChild.cloneNode(true);
    this.show(message);
  }

  show(message) {
    this.element.dataset.testid = `message-${message.id}`;
    this.element.dataset.role = message.role;
    const { role, content } = message;
    if (role === this.#shown.role && content === this.#shown.content) return; // Keeps what is selected or has the focus.
    this.#shown = { role, content };
    const text = this.element.querySelector('[data-part=text]');
    if (role === 'bot') renderMarkdown(text, content);
    else text.textContent = content;
  }

  tick() {}

  reloadImage() {}
}
