// Who is signed out is sent to sign in by the next load of the page, which comes back to where it is.
(() => {
  const ask = window.fetch;
  window.fetch = async (...asked) => {
    const answer = await ask(...asked);
    if (answer.status === 401) location.reload();
    return answer;
  };
})();
