// What the page's server answers to an event that it refuses: said above the box for questions.
// Gradio shows nothing of it: events that do not wait in its queue fail in silence.
(() => {
  const LOST = translate('page.lost');
  const CALL = /\/gradio_api\/(run|queue\/join)(\/|\?|$)/;
  const places = () => [...document.querySelectorAll('.told')];

  const tell = (text) => {
    const place = places().find((one) => one.closest('.main')?.getClientRects().length);
    if (!place || place.textContent === text) return;
    place.innerHTML = '<div class="card error" role="alert"><strong></strong></div>';
    place.querySelector('strong').textContent = text;
    place.scrollIntoView({block: 'nearest'});
  };
  window.tell = tell; // what an event says of what it has not done comes with its answer
  // Whoever goes on has read it.
  const forget = () => places().forEach((place) => place.replaceChildren());
  for (const event of ['pointerdown', 'keydown']) window.addEventListener(event, forget, {capture: true});

  const send = window.fetch;
  window.fetch = async (...call) => {
    const isCall = CALL.test(String(call[0]?.url ?? call[0]));
    try {
      const answer = await send(...call);
      if (isCall && !answer.ok) {
        const told = await answer.clone().json().catch(() => ({}));
        tell(typeof told.error === 'string' ? told.error : LOST);
      }
      return answer;
    } catch (error) { // the timer of the page calls too, and nobody waits for that
      if (isCall && error.name !== 'AbortError' && navigator.userActivation.isActive) tell(LOST);
      throw error;
    }
  };
})();
