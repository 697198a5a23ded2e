// One question, a card a model: what it said, and whether that is right.
const answers = data.responses.tasks;
const asking = () => answers[chosen("answer-task")];

function setUpResponses() {
  if (!$("responses")) return;
  fill($("answer-task"), answers.map((one, i) => [String(i), one.task]));
  $("answer-task").closest("label").hidden = answers.length < 2;
  const seeds = [...new Set(data.bases.map((b) => b.seed).filter((s) => s !== null && s !== undefined))];
  fill($("answer-seed"), [...seeds.map((s) => [String(s), String(s)]), ["", "all"]]);
  $("answer-seed-label").hidden = seeds.length < 2;
  if ($("answer-setting")) fill($("answer-setting"), options(data.settings));
  onChange(["answer-task"], fillQuestions);
  onChange(["answer-question", "answer-seed", "answer-setting"], drawAnswers);
  $("answer-before").addEventListener("click", () => choose(chosen("answer-question") - 1));
  $("answer-after").addEventListener("click", () => choose(chosen("answer-question") + 1));
  fillQuestions();
}

function fillQuestions() {
  fill($("answer-question"), asking().questions.map((q, i) => [String(i), (i + 1) + ". " + (q.text ? q.text.slice(0, 90) : q.id) + "  (right: " + q.right + " of " + q.models + ")"]));
  drawAnswers();
}

function choose(index) {
  if (!answers.length || !asking().questions[index]) return;
  $("answer-question").value = String(index);
  drawAnswers();
}

function drawAnswers() {
  const found = asking(), at = chosen("answer-question"), question = found.questions[at], seed = $("answer-seed").value, setting = data.settings[chosen("answer-setting")];
  const here = found.models.filter((m) => m.s === setting && (m.o || seed === "" || String(m.base_seed) === seed));
  here.sort((a, b) => a.o - b.o || (a.l[0] ?? 0) - (b.l[0] ?? 0) || a.x - b.x || a.base_seed - b.base_seed || a.seed - b.seed);
  const names = cardNames(here, found.models);
  $("answer-text").replaceChildren(clean(question.text || question.id + " (its text is not at hand here)"), el("br"), el("b", {}, "Right answer: "), clean(question.gold));
  $("answers").replaceChildren(...here.map((m, i) => answerCard(m, m.a[at], names[i])));
  $("answer-before").disabled = at === 0;
  $("answer-after").disabled = at === found.questions.length - 1;
  $("answer-say").textContent = "Most likely (greedy) response of each model to " + found.questions.length + " of " + found.of + " questions: the first ones, and those on which the models differ most.";
}

// Headings: [what the base is, which seeds], no two alike. Seeds are named where the models differ in them.
function cardNames(here, all) {
  const severalOf = (key) => new Set(all.map((m) => m[key] ?? null)).size > 1;
  const known = [["base_seed", "base seed "], ["seed", "fine-tuning seed "]].filter(([key]) => severalOf(key));
  const lineOf = (m) => (data.lines.length > 1 ? m.l.map((l) => data.lines[l]).join(" / ") + ", " : "");
  const named = here.map((m) => [
    m.o ? "from random weights" + (data.lines.length > 1 ? " (" + m.g + ")" : "") : m.x === null ? m.b : lineOf(m) + placeName(m.x),
    known.filter(([key]) => typeof m[key] === "number").map(([key, words]) => words + m[key]).join(", "),
  ]);
  const times = new Map();
  for (const one of named) times.set(one.join("|"), (times.get(one.join("|")) || 0) + 1);
  return named.map(([what, seeds], i) => [what, times.get(what + "|" + seeds) > 1 ? [seeds, "cell " + here[i].id].filter(Boolean).join(", ") : seeds]);
}

function answerCard(m, given, [what, seeds]) {
  const head = el("h4", { title: clean(m.b) }, clean(what), seeds ? el("span", { class: "seeds" }, clean(seeds)) : null);
  if (!given) return el("article", { class: "response" }, head, el("p", { class: "dim" }, "not asked"));
  const [text, answer, right, hits, samples] = given;
  return el("article", { class: "response" + (right ? " right" : "") }, head,
    el("p", { class: "verdict" }, (right ? "✓ right: " : "✗ wrong: ") + (answer === null ? "no answer" : clean(answer))),
    el("pre", { tabindex: "0" }, text.trim().split("\n").map(clean).join("\n") || "(nothing)"),
    samples ? el("p", { class: "dim" }, hits + " of " + samples + " samples right") : null);
}
