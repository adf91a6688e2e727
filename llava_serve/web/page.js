() => {
  // The transcript follows the answer, unless the reader has scrolled up.
  const followed = new WeakSet();
  const NEAR = 96;

  const follow = (box) => {
    if (followed.has(box)) return;
    followed.add(box);
    let pinned = true;
    box.addEventListener('scroll', () => {
      pinned = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
    });
    const down = () => {
      if (pinned && box.querySelector('.turn')) box.scrollTop = box.scrollHeight;
    };
    new MutationObserver(down).observe(box, {childList: true, subtree: true, characterData: true});
    box.addEventListener('load', down, true); // pictures that arrive late
  };

  const findTranscripts = () => document.querySelectorAll('.transcript').forEach(follow);
  new MutationObserver(findTranscripts).observe(document.body, {childList: true, subtree: true});
  findTranscripts();

  document.addEventListener('click', async (event) => {
    const button = event.target.closest('.turn .copy');
    if (!button) return;
    const text = button.closest('.turn').querySelector('.text').innerText;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'The browser refused'; // clipboards need https or localhost
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  });
}
