// The transcripts of the page, the addresses and drafts of its conversations, and its keys.
(() => {
  const RETRY_MS = [500, 1000, 2000, 5000];
  const DRAFT_MS = 400;
  const LOST = `<p class="note" role="status">${translate('chat.server_silent')}</p>`;
  const REFUSED = `<p class="note" role="status">${translate('chat.refused')}</p>`;
  const LATER = [408, 429]; // of the refusals, those that may be none the next time

  // Makes `target` look like `html` and keeps every node that can stay: pictures, selections.
  const morph = (target, html) => {
    const wanted = document.createElement('template');
    wanted.innerHTML = html;
    patch(target, wanted.content);
  };
  const patch = (old, wanted) => {
    const before = [...old.childNodes], after = [...wanted.childNodes];
    after.forEach((node, index) => {
      const known = before[index];
      if (!known) old.append(node);
      else if (known.nodeName !== node.nodeName) known.replaceWith(node);
      else if (known.nodeType !== Node.ELEMENT_NODE) {
        if (known.data !== node.data) known.data = node.data;
      } else {
        for (const {name} of [...known.attributes]) if (!node.hasAttribute(name)) known.removeAttribute(name);
        for (const {name, value} of node.attributes) {
          if (known.getAttribute(name) !== value) known.setAttribute(name, value);
        }
        patch(known, node);
      }
    });
    before.slice(after.length).forEach((node) => node.remove());
  };

  const applied = (old, [before, after, middle]) =>
    old.slice(0, before) + middle + old.slice(old.length - after);

  // What finds a button of an exchange when it is drawn anew; nothing where it has no data.
  const nameOf = (element) => [...element.attributes].filter(({name}) => name.startsWith('data-'))
    .map(({name, value}) => `[${name}="${CSS.escape(value)}"]`).join('');

  class Conversation {
    constructor({element, props, watch, quiet, lend, askFiles, dismiss}) {
      this.kind = element.querySelector('[data-kind]').dataset.kind;
      this.props = props;
      this.quiet = quiet;
      this.lend = lend;
      this.askFiles = askFiles;
      this.dismissed = dismiss;
      this.id = null; // until the first signal
      this.live = '';
      this.attached = []; // the names of the files in the box
      this.thumbnails = ''; // as they were when the box was asked for its files
      this.isLending = false; // files of the draft are on their way into the box
      this.draft = null; // until it is known what there was
      this.address = ''; // what finds the conversation again, once there is something to find
      watch('value', () => this.signalled());
      this.signalled();
      setInterval(() => this.saveDraft(), DRAFT_MS);
      for (const event of ['pagehide', 'visibilitychange']) window.addEventListener(event, () => this.saveDraft());
    }

    find(part) { return document.querySelector(`#${this.kind}-${part}`); }
    box(part) { return this.find(part).querySelector('.parts'); }

    signalled() {
      if (!this.props.value) return;
      const {id, version, address, told} = JSON.parse(this.props.value);
      const isFirst = this.id === null;
      if (id !== this.id) {
        this.id = id;
        this.version = null;
      }
      this.moveDraft(address || '');
      if (address !== null) this.name(address, isFirst);
      if (told) window.tell(told);
      if (isFirst) this.restoreDraft();
      if (version !== this.version) this.read();
    }

    // A conversation that is left can be found again by the browser's own way back.
    name(address, isFirst) {
      const url = new URL(location.href), known = url.searchParams.get(this.kind) ?? '';
      if (known === address) return;
      if (address) url.searchParams.set(this.kind, address);
      else url.searchParams.delete(this.kind);
      if (known && !isFirst) history.pushState(history.state, '', url);
      else history.replaceState(history.state, '', url);
      this.changed();
    }

    // The list of conversations shows what there is.
    changed() { window.dispatchEvent(new Event('conversation')); }

    // A tab of the page makes its places one after the other, when it is first seen.
    async places() {
      const isThere = (part) => this.find(part)?.querySelector('.parts');
      while (!['history', 'live', 'notice', 'link'].every(isThere)) {
        await new Promise((after) => setTimeout(after, 20));
      }
    }

    async read() {
      this.reading?.abort();
      const mine = this.reading = new AbortController();
      await this.places();
      for (this.failures = 0; this.reading === mine; this.failures++) {
        const outcome = await this.readOnce(mine).catch(() => 'lost');
        if (this.reading !== mine || outcome === 'gone') return;
        if (outcome === 'quiet') this.changed();
        if (outcome === 'quiet') return this.quiet();
        morph(this.box('link'), outcome === 'refused' ? REFUSED : LOST);
        if (outcome === 'refused') return;
        await new Promise((after) => setTimeout(after, RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)]));
      }
    }

    // Applies changes until the server says that there will be no more: 'quiet', with its version.
    async readOnce(mine) {
      this.live = '';
      const answer = await fetch('transcript', {
        method: 'POST',
        headers: {'Content-Type': 'application/json'},
        body: JSON.stringify({id: this.id, have: [...this.exchanges().keys()]}),
        signal: mine.signal,
      });
      if (answer.status === 404) return 'gone';
      if (answer.status >= 400 && answer.status < 500 && !LATER.includes(answer.status)) return 'refused';
      if (!answer.ok) return 'lost';
      morph(this.box('link'), '');
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = '', isFirst = true; ;) {
        const {value, done} = await reader.read();
        if (done || this.reading !== mine) return 'lost';
        const events = (rest + value).split('\n\n');
        rest = events.pop();
        for (const event of events) {
          const change = JSON.parse(event.slice('data: '.length));
          if ('version' in change) {
            this.draw();
            this.version = change.version;
            return 'quiet';
          }
          this.failures = 0;
          this.apply(change, isFirst);
          isFirst = false;
        }
        this.draw();
      }
    }

    exchanges() {
      return new Map([...this.box('history').children].map((exchange) => [exchange.dataset.mark, exchange]));
    }

    apply({marks, new: fresh, live, notice}, isFirst) {
      if (marks) {
        this.draw(); // what was open is kept, as it is drawn
        this.settle(marks, fresh);
      }
      if (live || isFirst) {
        this.live = live ? applied(this.live, live) : '';
        this.isStale = true;
      }
      if (notice !== undefined) morph(this.box('notice'), notice);
    }

    // Takes the card away that says what went wrong outside any answer, here and on the server.
    dismiss() {
      const code = this.find('notice')?.querySelector('.notice')?.dataset.code;
      if (!code) return;
      this.box('notice').replaceChildren();
      this.dismissed({code});
    }

    // What came together is drawn once: a browser that has fallen behind catches up.
    draw() {
      if (this.isStale) morph(this.box('live'), this.live);
      this.isStale = false;
    }

    // What was open becomes the newest exchange with the nodes it has; a button that was pressed
    // keeps the focus, though its exchange is another one by then.
    settle(marks, fresh) {
      const known = this.exchanges(), history = this.box('history'), live = this.box('live');
      const pressed = history.contains(document.activeElement) && nameOf(document.activeElement);
      const shown = marks.map((mark) => {
        if (known.has(mark)) return known.get(mark);
        const exchange = document.createElement('div');
        exchange.className = 'exchange';
        exchange.dataset.mark = mark;
        const html = applied(this.live, fresh[mark]);
        if (this.live && fresh[mark][0] + fresh[mark][1] > html.length / 2) exchange.append(...live.childNodes);
        morph(exchange, html);
        return exchange;
      });
      history.replaceChildren(...shown);
      if (pressed) history.querySelector(pressed)?.focus({preventScroll: true});
    }

    get textbox() { return this.find('composer')?.querySelector('textarea'); }

    // Whoever puts files into the box or takes them out, its thumbnails are other ones then.
    lookAtFiles() {
      const items = this.find('composer')?.querySelectorAll('.thumbnail-item') ?? [];
      const thumbnails = [...items].map((item) => item.innerHTML).join();
      if (thumbnails === this.thumbnails) return;
      this.thumbnails = thumbnails;
      if (thumbnails) this.askFiles();
      else this.hold([]);
    }

    // A box that is empty because its files are still on their way has lost none.
    hold(files) {
      if (this.draft === null || (this.isLending && !files.length)) return;
      this.isLending = false;
      this.attached = files.map(({path}) => path);
    }

    saveDraft() {
      const text = this.textbox?.value;
      if (text === undefined || this.draft === null) return;
      this.lookAtFiles();
      const draft = text || this.attached.length ? JSON.stringify({text, files: this.attached}) : '';
      if (draft === this.draft) return;
      this.draft = draft;
      try {
        if (draft) this.drafts.setItem(this.draftKey, draft);
        else this.drafts.removeItem(this.draftKey);
      } catch { /* a browser that keeps nothing */ }
    }

    get draftKey() { return `draft ${this.kind} ${this.address}`; }

    // A conversation that has no address yet is its tab's alone.
    get drafts() { return this.address ? localStorage : sessionStorage; }

    // What is in the box stays there when another conversation is shown above it.
    moveDraft(address) {
      if (address !== this.address && this.draft) {
        try { this.drafts.removeItem(this.draftKey); } catch { /* a browser that keeps nothing */ }
        this.draft = '';
      }
      this.address = address;
    }

    keptDraft() {
      try {
        const {text, files} = JSON.parse(this.drafts.getItem(this.draftKey));
        if (typeof text === 'string' && Array.isArray(files)) return {text, files};
      } catch { /* a browser that keeps nothing, or nothing that can be read */ }
      return {text: '', files: []};
    }

    // Only the server can put files into the box; it has those of the last day.
    restoreDraft() {
      if (!this.textbox) return void setTimeout(() => this.restoreDraft(), 50);
      const {text, files} = this.keptDraft();
      if (text && !this.textbox.value) {
        this.textbox.value = text;
        this.textbox.dispatchEvent(new Event('input', {bubbles: true}));
      }
      this.draft = text || files.length ? JSON.stringify({text, files}) : '';
      this.attached = files;
      this.isLending = files.length > 0;
      if (this.isLending) this.lend({text: this.textbox.value, files});
    }
  }

  const known = {};
  const waiting = window.conversations ?? [];
  window.conversations = {
    push: (parts) => {
      const conversation = new Conversation(parts);
      known[conversation.kind] = conversation;
    },
    attached: (kind, files) => known[kind]?.hold(files),
    lent: (kind, files) => {
      known[kind].isLending = false;
      known[kind].hold(files);
    },
  };
  window.conversations.of = (kind) => known[kind];
  waiting.forEach(window.conversations.push);

  window.addEventListener('popstate', () => location.reload());

  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || event.isComposing) return;
    const stops = [...document.querySelectorAll('.composer .stop-button')];
    stops.find((stop) => stop.offsetParent !== null)?.click();
  });
})();
