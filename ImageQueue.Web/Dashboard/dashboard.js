// Refreshes the dashboard's image pages and status bar in place, and sends commands.
(function () {
  'use strict';
  const bar = document.querySelector('[data-iq-conditions]');
  // Hangfire has no place for more than tiles on its home page: the charts go above its graphs.
  const graph = document.getElementById('realtimeGraph');
  if (graph) {
    const overview = document.createElement('section');
    overview.className = 'iq';
    overview.setAttribute('aria-label', 'Images');
    overview.dataset.iqLive = location.pathname.replace(/\/$/, '') + '/live/overview';
    overview.append(document.createElement('div'));
    overview.firstChild.dataset.iqPart = '';
    (graph.previousElementSibling || graph).before(overview);
  }
  const pane = document.querySelector('[data-iq-live]');
  const part = pane && pane.querySelector('[data-iq-part]');
  const interval = graph ? 10000 : 2000;
  const barInterval = 5000;
  const patience = 10000;
  const views = [];
  if (pane) views.push(view(pane, part, pane.dataset.iqLive, interval));
  if (bar) views.push(view(bar, bar.querySelector('[data-iq-list]'), bar.dataset.iqConditions, barInterval));
  let isSignedOut = false;

  // One missed answer is not stale yet.
  function view(root, target, url, interval) {
    const staleAfter = Math.max(patience, 2 * interval);
    return { root, target, url, interval, staleAfter, last: '', isBusy: false, answeredAt: Date.now() };
  }

  function times(root) {
    root.querySelectorAll('time:not([title])').forEach(time => {
      time.title = time.textContent;
      time.textContent = new Date(time.dateTime).toLocaleString();
    });
  }

  // On a phone each row is a block, and each cell names its column.
  function labels(root) {
    root.querySelectorAll('.iq-table').forEach(table => {
      const names = Array.from(table.tHead ? table.tHead.rows[0].cells : [], cell => cell.textContent.trim());
      Array.from(table.tBodies).forEach(body => Array.from(body.rows).forEach(row => Array.from(row.cells).forEach((cell, i) => {
        if (names[i]) cell.dataset.th = names[i];
      })));
    });
  }

  // Results are set as text, never as markup.
  function say(text) {
    const place = document.querySelector('[data-iq-said]') || document.querySelector('[data-iq-result]');
    if (place) place.textContent = text;
  }

  function picked() {
    return Array.from(document.querySelectorAll('[data-iq-pick]:checked'), box => box.value);
  }

  function updateSelection() {
    const count = picked().length;
    document.querySelectorAll('[data-iq-picked]').forEach(button => { button.disabled = count === 0; });
    const all = document.querySelector('[data-iq-all]');
    if (all) all.checked = count > 0 && count === document.querySelectorAll('[data-iq-pick]').length;
  }

  // The link comes back to this very page.
  function signedOut() {
    if (isSignedOut) return;
    isSignedOut = true;
    const notice = document.createElement('p');
    notice.className = 'iq-signed-out';
    notice.setAttribute('role', 'alert');
    notice.append('Your sign-in has ended; this page no longer refreshes. ');
    const link = document.createElement('a');
    link.href = bar.dataset.iqLogin + '?return=' + encodeURIComponent(location.pathname + location.search);
    link.className = 'btn btn-xs btn-primary';
    link.textContent = 'Sign in';
    notice.append(link);
    bar.prepend(notice);
    document.querySelectorAll('[data-iq-post]').forEach(button => { button.disabled = true; });
  }

  // A redirect leads to the sign-in form, which must not be drawn inside the page.
  const isSignIn = answer => answer.status === 401 || answer.type === 'opaqueredirect';

  async function refresh(one, isForced) {
    if (!one || document.hidden || one.isBusy || isSignedOut) return;
    // An operator who writes, or has a list open, is not interrupted.
    const active = document.activeElement;
    if (!isForced && one.target.contains(active) && active.matches('input:not([type=checkbox]), select')) return;
    one.isBusy = true;
    try {
      const answer = await fetch(one.url, { headers: { Accept: 'text/html' }, redirect: 'manual', signal: AbortSignal.timeout(patience) });
      if (isSignIn(answer)) { signedOut(); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      const html = await answer.text();
      one.answeredAt = Date.now();
      if (html !== one.last) exchange(one, html);
      one.last = html;
    } catch {
      // Shown by age below.
    } finally {
      one.isBusy = false;
      showAge();
    }
  }

  function showAge() {
    const stale = views.filter(one => Date.now() - one.answeredAt >= one.staleAfter);
    const oldest = Math.min(...stale.map(one => one.answeredAt));
    const isStale = stale.length > 0 && !document.hidden;
    document.body.classList.toggle('iq-stale', isStale);
    const notice = bar && bar.querySelector('[data-iq-stale]');
    if (!notice) return;
    notice.hidden = !isStale;
    if (isStale) notice.textContent = 'No answer since ' + new Date(oldest).toLocaleTimeString() + '. What is shown may be old.';
  }

  function exchange(one, html) {
    const { target } = one;
    const checked = new Set(picked());
    const focused = document.activeElement && target.contains(document.activeElement) ? keyOf(document.activeElement) : null;
    const opened = new Map(Array.from(target.querySelectorAll('details > summary'), summary => [summary.textContent, summary.parentElement.open]));
    const wide = target.querySelector('.table-responsive');
    const scrolled = wide ? wide.scrollLeft : 0;
    target.innerHTML = html; // The server has encoded every value.
    target.querySelectorAll('[data-iq-pick]').forEach(box => { box.checked = checked.has(box.value); });
    target.querySelectorAll('details > summary').forEach(summary => {
      if (opened.has(summary.textContent)) summary.parentElement.open = opened.get(summary.textContent);
    });
    const now = target.querySelector('.table-responsive');
    if (now) now.scrollLeft = scrolled;
    times(target);
    labels(target);
    updateSelection(); // Before the focus: a disabled button takes none.
    if (focused) {
      const again = Array.from(target.querySelectorAll('a, button, input, summary')).find(element => keyOf(element) === focused);
      if (again) again.focus({ preventScroll: true });
    }
  }

  function keyOf(element) {
    return [element.tagName, element.id, element.getAttribute('href'), element.dataset.iqPost, element.dataset.iqValue, element.textContent].join('|');
  }

  async function reason(answer) {
    if (answer.status === 403) return 'You may not do this, or your sign-in has ended: reload the page.';
    try {
      return (await answer.json()).detail || 'The server answered ' + answer.status + '.';
    } catch {
      return 'The server answered ' + answer.status + '.';
    }
  }

  // A command over all matches is confirmed with their number.
  async function isConfirmed(button, selected) {
    let count = selected;
    if (button.dataset.iqCount) {
      try {
        const answer = await fetch(button.dataset.iqCount, { redirect: 'manual' });
        if (isSignIn(answer)) { signedOut(); return false; }
        if (!answer.ok) throw new Error(String(answer.status));
        count = (await answer.json()).count;
      } catch {
        say('The matching images could not be counted. Try again.');
        return false;
      }
    }
    return confirm(button.dataset.iqConfirm.replace('{0}', count.toLocaleString('en')));
  }

  async function send(button) {
    const values = button.hasAttribute('data-iq-picked') ? picked() : [button.dataset.iqValue];
    if (values.length === 0) return;
    button.disabled = true; // A second click would start a second job.
    if (button.dataset.iqConfirm && !await isConfirmed(button, values.length)) {
      button.disabled = isSignedOut;
      if (document.activeElement === document.body) button.focus({ preventScroll: true });
      return;
    }

    // The image that moves to the front last stands first: so the selection is sent backwards.
    if (button.dataset.iqPost.endsWith('/front')) values.reverse();
    const form = new URLSearchParams();
    values.forEach(value => form.append('jobs[]', value));
    const header = document.querySelector('meta[name=csrf-header]');
    const token = document.querySelector('meta[name=csrf-token]');
    const headers = header && token ? { [header.content]: token.content } : {};
    const name = button.textContent.trim();
    try {
      const answer = await fetch(button.dataset.iqPost, { method: 'POST', body: form, headers, redirect: 'manual' });
      if (isSignIn(answer)) { signedOut(); return; }
      if (!answer.ok) throw new Error(await reason(answer));
      const { done, refused, started } = await answer.json();
      say(name + ': ' + (started ? 'started; the progress is shown below.'
        : done + ' done' + (refused ? ', ' + refused + ' refused because of their state.' : '.')));
      document.querySelectorAll('[data-iq-pick]:checked').forEach(box => { box.checked = false; });
    } catch (error) {
      say(name + ' failed. ' + error.message);
    } finally {
      button.disabled = isSignedOut;
    }

    if (!pane && document.querySelector('.iq-image')) { location.reload(); return; }
    await Promise.all(views.map(one => refresh(one, true)));
    updateSelection();
    // When the pressed button is gone or disabled, the result has the focus, and Tab goes on from there.
    const said = document.querySelector('[data-iq-said]');
    if (said && (!document.activeElement || document.activeElement === document.body)) said.focus({ preventScroll: true });
  }

  document.addEventListener('click', event => {
    const button = event.target.closest('[data-iq-post]');
    if (button) send(button);
  });
  document.addEventListener('change', event => {
    if (event.target.matches('[data-iq-all]'))
      document.querySelectorAll('[data-iq-pick]').forEach(box => { box.checked = event.target.checked; });
    if (event.target.matches('[data-iq-all], [data-iq-pick]')) updateSelection();
  });
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return;
    views.forEach(one => {
      one.answeredAt = Date.now(); // A hidden page asks nothing: its age starts now.
      refresh(one);
    });
  });
  views.forEach(one => setInterval(() => refresh(one), one.interval));
  setInterval(showAge, 1000);
  if (graph) refresh(views[0]);
  times(document);
  labels(document);
  updateSelection();
})();
