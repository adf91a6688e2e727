() => {
  // The transcript follows the answer, unless the reader has scrolled away. Of answers one below the
  // other it follows the first one, whose top stays in sight, unless the reader has gone to the end.
  const watched = new WeakSet();
  const NEAR = 96;
  const MARGIN = 12; // above the answer that is followed
  const QUIET_MS = 100; // one change of the page is many changes of its elements

  const region = document.createElement('div');
  region.className = 'unseen';
  region.id = 'spoken';
  region.setAttribute('role', 'status');
  document.body.append(region);

  const last = (box) => {
    const turns = [...box.querySelectorAll('.turn')];
    const question = turns.findLastIndex((turn) => turn.classList.contains('user'));
    return turns.slice(question + 1);
  };
  const isOpen = (turn) => turn.matches('.waiting, .running');

  // An answer is said once, when it is whole: one that was open, or came after a touch of the page.
  const speaker = (box) => {
    let wasOpen = false, count = 0;
    return () => {
      const answers = last(box), all = box.querySelectorAll('.turn.assistant').length;
      if (answers.some(isOpen)) {
        wasOpen = true;
        region.textContent = '';
        return;
      }
      const isFresh = wasOpen || (all > count && navigator.userActivation.hasBeenActive);
      [wasOpen, count] = [false, all];
      if (!isFresh || !answers.length) return;
      const parts = '.model, .text, .note:not(.vote), .card.error strong, .card.error p';
      const said = answers.flatMap((turn) => [...turn.querySelectorAll(parts)].map((part) => part.innerText));
      region.textContent = said.join('\n');
    };
  };

  // An error of the newest answer, or of no answer, comes into sight: once, and again at the end,
  // and whenever the answers beside it have grown since.
  const pointer = (box, pin) => {
    const seen = new Set();
    return () => {
      const answers = last(box);
      const cards = [...box.querySelectorAll('.card.error')];
      const newest = cards.filter((card) => answers.includes(card.closest('.turn')) || !card.closest('.turn'));
      const texts = answers.flatMap((turn) => [...turn.querySelectorAll('.text')].map((text) => text.textContent));
      const stage = answers.some(isOpen) ? 'open' : JSON.stringify(texts);
      const key = (card) => stage + card.textContent;
      const fresh = newest.filter((card) => !seen.has(key(card)));
      if (stage !== 'open') seen.clear();
      newest.forEach((card) => seen.add(key(card)));
      if (!fresh.length) return;
      fresh[0].scrollIntoView({block: 'nearest'});
      pin(); // at once: the event of this scrolling comes a frame later
    };
  };

  const watch = (box) => {
    if (watched.has(box)) return;
    watched.add(box);
    box.setAttribute('role', 'region');
    box.setAttribute('aria-label', translate('chat.conversation'));
    let followed = 'first', asked = 0, voted = 0, wasOpen = false, settling; // 'first', 'end', or nothing
    const end = () => box.scrollHeight - box.clientHeight;
    const first = () => {
      const [one, other] = last(box).map((turn) => turn.getBoundingClientRect());
      if (!other || other.top < one.bottom) return end();
      return Math.min(end(), box.scrollTop + one.top - box.getBoundingClientRect().top - MARGIN);
    };
    const isNear = (top) => Math.abs(top - box.scrollTop) < NEAR;
    const pin = () => {
      followed = isNear(first()) ? 'first' : isNear(end()) && 'end';
    };
    let own = null; // where this script has scrolled to: its event comes when more may have arrived
    box.addEventListener('scroll', () => {
      if (box.scrollTop === own) return;
      own = null;
      pin();
    });
    const down = () => {
      const questions = box.querySelectorAll('.turn.user').length, opens = last(box).some(isOpen);
      if (followed && (questions !== asked || (opens && !wasOpen))) followed = 'first';
      const votes = box.querySelectorAll('.outcome, .note.vote').length;
      if (votes > voted && questions === asked) followed = 'end'; // what a vote has said stands there
      [asked, voted, wasOpen] = [questions, votes, opens];
      if (!followed || !questions) return;
      box.scrollTop = followed === 'first' ? first() : end();
      own = box.scrollTop;
    };
    const settled = [speaker(box), pointer(box, pin)];
    new MutationObserver(() => {
      down();
      clearTimeout(settling);
      settling = setTimeout(() => settled.forEach((tell) => tell()), QUIET_MS);
    }).observe(box, {childList: true, subtree: true, characterData: true});
    box.addEventListener('load', down, true); // pictures that arrive late
  };

  // One Tab for all tabs, and the arrows between them, as readers of screens know it.
  const rove = () => {
    let isOther = false;
    document.querySelectorAll('[role=tab]').forEach((tab) => {
      const index = tab.getAttribute('aria-selected') === 'true' ? 0 : -1;
      if (tab.tabIndex === index) return;
      tab.tabIndex = index;
      isOther = true;
    });
    if (isOther) window.dispatchEvent(new Event('tabs'));
  };
  document.addEventListener('keydown', (event) => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step || !event.target.matches('[role=tab]')) return;
    const tabs = [...event.target.parentElement.querySelectorAll('[role=tab]')];
    const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
    next.click();
    next.focus();
  });

  // The page opens on the tab where it was left, or on the only conversation it is given. Where it
  // is given none, nothing is opened: its user may have chosen a tab before this script ran.
  const KINDS = ['chat', 'compare', 'arena', 'leaderboard'];
  const named = KINDS.filter((kind) => new URL(location.href).searchParams.get(kind));
  let opening = history.state?.tab ?? (named.length === 1 ? named[0] : null);
  const tabOf = (kind) => document.getElementById(`${kind}-tab-button`);
  const open = () => {
    const tab = opening && tabOf(opening);
    if (!tab) return;
    opening = null;
    if (tab.getAttribute('aria-selected') !== 'true') tab.click();
  };
  document.addEventListener('click', (event) => {
    const kind = KINDS.find((one) => tabOf(one)?.contains(event.target));
    if (!kind) return;
    opening = null;
    history.replaceState({...history.state, tab: kind}, '');
  });

  const look = () => {
    document.querySelectorAll('.transcript').forEach(watch);
    open();
    rove();
  };
  new MutationObserver(look).observe(document.body, {
    childList: true, subtree: true, attributes: true, attributeFilter: ['aria-selected'],
  });
  look();

  // A name that is cut is whole in its tip.
  document.addEventListener('mouseover', (event) => {
    const name = event.target.closest('[id$=-model] :is(input, .token, li)');
    if (name) name.title = name.value || name.innerText;
  });

  document.addEventListener('click', async (event) => {
    const button = event.target.closest('.turn .copy, .turn .copy-code');
    if (!button) return;
    const code = button.closest('figure.code')?.querySelector('code');
    const text = code ? code.textContent : button.closest('.turn').querySelector('.text').innerText;
    button.textContent = await window.copyText(text) ? translate('page.copied') : translate('page.copy_refused');
    setTimeout(() => { button.textContent = translate('answer.copy'); }, 1500);
  });
}
