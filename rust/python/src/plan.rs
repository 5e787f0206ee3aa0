//! The step contract, as Python sees it: what the backend is told, and what it answers.

use lightllm_router as core;
use lightllm_router::{PageId, RequestId, SlotId};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use crate::arguments::{Given, boolean_or, instance, integer, integers, items, tuple};
use crate::images;
use crate::text::Repr;

/// A request gets a slot.
#[pyclass(module = "lightllm_rs._core", frozen, eq)]
#[derive(Clone, PartialEq)]
pub struct Attach(pub core::Attach);

#[pymethods]
impl Attach {
    #[new]
    #[pyo3(
        signature = (*, slot, request, prompt_len, history=None, images=None),
        text_signature = "(*, slot, request, prompt_len, history=None, images=(0, 0))"
    )]
    fn new(
        slot: &Bound<'_, PyAny>,
        request: &Bound<'_, PyAny>,
        prompt_len: &Bound<'_, PyAny>,
        history: Given<'_, '_>,
        images: Given<'_, '_>,
    ) -> PyResult<Self> {
        Ok(Self(core::Attach {
            slot: SlotId(integer(slot, "slot")?),
            request: RequestId(integer(request, "request")?),
            prompt_len: integer(prompt_len, "prompt_len")?,
            history: history.map(|tokens| integers(tokens, "history")).transpose()?,
            images: images::range(images)?,
        }))
    }

    #[getter]
    fn slot(&self) -> u32 {
        self.0.slot.0
    }

    #[getter]
    fn request(&self) -> u64 {
        self.0.request.0
    }

    #[getter]
    fn prompt_len(&self) -> u32 {
        self.0.prompt_len
    }

    #[getter]
    fn history<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.0.history.as_ref().map(|history| tuple(py, history)).transpose()
    }

    #[getter]
    fn images<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        images::range_tuple(py, &self.0.images)
    }

    fn __repr__(&self) -> String {
        let attach = &self.0;
        let text = Repr::new("Attach")
            .field("slot", attach.slot.0)
            .field("request", attach.request.0)
            .field("prompt_len", attach.prompt_len);
        let text = match &attach.history {
            Some(history) => text.tuple("history", history.iter().map(u32::to_string)),
            None => text.verbatim("history", "None"),
        };
        text.verbatim("images", &format!("({}, {})", attach.images.start, attach.images.end)).end()
    }
}

/// Consecutive positions of one request to compute.
#[pyclass(module = "lightllm_rs._core", frozen, eq)]
#[derive(Clone, PartialEq)]
pub struct Row(pub core::Row);

#[pymethods]
impl Row {
    #[new]
    #[pyo3(
        signature = (*, slot, request, start, tokens, new_pages=None, emits=None, from_last=None),
        text_signature = "(*, slot, request, start, tokens, new_pages=(), emits=False, from_last=False)"
    )]
    fn new(
        slot: &Bound<'_, PyAny>,
        request: &Bound<'_, PyAny>,
        start: &Bound<'_, PyAny>,
        tokens: &Bound<'_, PyAny>,
        new_pages: Given<'_, '_>,
        emits: Given<'_, '_>,
        from_last: Given<'_, '_>,
    ) -> PyResult<Self> {
        Ok(Self(core::Row {
            slot: SlotId(integer(slot, "slot")?),
            request: RequestId(integer(request, "request")?),
            start: integer(start, "start")?,
            tokens: integer(tokens, "tokens")?,
            new_pages: match new_pages {
                Some(pages) => integers(pages, "new_pages")?.into_iter().map(PageId).collect(),
                None => Vec::new(),
            },
            emits: boolean_or(emits, "emits", false)?,
            from_last: boolean_or(from_last, "from_last", false)?,
        }))
    }

    #[getter]
    fn slot(&self) -> u32 {
        self.0.slot.0
    }

    #[getter]
    fn request(&self) -> u64 {
        self.0.request.0
    }

    #[getter]
    fn start(&self) -> u32 {
        self.0.start
    }

    #[getter]
    fn tokens(&self) -> u32 {
        self.0.tokens
    }

    #[getter]
    fn new_pages<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        tuple(py, self.0.new_pages.iter().map(|page| page.0))
    }

    #[getter]
    fn emits(&self) -> bool {
        self.0.emits
    }

    #[getter]
    #[expect(clippy::wrong_self_convention, reason = "a property that is named so in the step contract")]
    fn from_last(&self) -> bool {
        self.0.from_last
    }

    fn __repr__(&self) -> String {
        let row = &self.0;
        Repr::new("Row")
            .field("slot", row.slot.0)
            .field("request", row.request.0)
            .field("start", row.start)
            .field("tokens", row.tokens)
            .tuple("new_pages", row.new_pages.iter().map(|page| page.0.to_string()))
            .boolean("emits", row.emits)
            .boolean("from_last", row.from_last)
            .end()
    }
}

/// One step.
#[pyclass(module = "lightllm_rs._core", frozen)]
pub struct StepPlan {
    plan: core::StepPlan,
    // Loops read these again and again; they are made once.
    attach: PyOnceLock<Py<PyTuple>>,
    rows: PyOnceLock<Py<PyTuple>>,
    token_ids: PyOnceLock<Py<PyTuple>>,
}

impl StepPlan {
    /// A plan of the scheduler.
    pub fn of(plan: core::StepPlan) -> Self {
        Self { plan, attach: PyOnceLock::new(), rows: PyOnceLock::new(), token_ids: PyOnceLock::new() }
    }
}

fn pair(value: &Bound<'_, PyAny>, parameter: &str) -> PyResult<(PageId, PageId)> {
    match integers(value, parameter)?.as_slice() {
        [from, to] => Ok((PageId(*from), PageId(*to))),
        _ => Err(crate::errors::invalid_argument(value.py(), parameter, "must be a pair of pages, from and to")),
    }
}

fn prefix_group(value: &Bound<'_, PyAny>, parameter: &str) -> PyResult<core::PrefixGroup> {
    match integers(value, parameter)?.as_slice() {
        [first_row, rows, pages] => Ok(core::PrefixGroup { first_row: *first_row, rows: *rows, pages: *pages }),
        _ => Err(crate::errors::invalid_argument(value.py(), parameter, "must be a first row, rows and pages")),
    }
}

#[pymethods]
impl StepPlan {
    #[new]
    #[pyo3(
        signature = (*, step, detach=None, attach=None, copies=None, rows=None, token_ids=None, groups=None),
        text_signature = "(*, step, detach=(), attach=(), copies=(), rows=(), token_ids=(), groups=())"
    )]
    fn new(
        step: &Bound<'_, PyAny>,
        detach: Given<'_, '_>,
        attach: Given<'_, '_>,
        copies: Given<'_, '_>,
        rows: Given<'_, '_>,
        token_ids: Given<'_, '_>,
        groups: Given<'_, '_>,
    ) -> PyResult<Self> {
        Ok(Self::of(core::StepPlan {
            step: integer(step, "step")?,
            detach: match detach {
                Some(slots) => integers(slots, "detach")?.into_iter().map(SlotId).collect(),
                None => Vec::new(),
            },
            attach: match attach {
                Some(all) => items(all, "attach", |item, name| Ok(instance::<Attach>(item, name)?.get().0.clone()))?,
                None => Vec::new(),
            },
            copies: match copies {
                Some(copies) => items(copies, "copies", pair)?,
                None => Vec::new(),
            },
            rows: match rows {
                Some(rows) => items(rows, "rows", |item, name| Ok(instance::<Row>(item, name)?.get().0.clone()))?,
                None => Vec::new(),
            },
            token_ids: token_ids.map_or_else(|| Ok(Vec::new()), |ids| integers(ids, "token_ids"))?,
            groups: match groups {
                Some(groups) => items(groups, "groups", prefix_group)?,
                None => Vec::new(),
            },
        }))
    }

    #[getter]
    fn step(&self) -> u64 {
        self.plan.step
    }

    #[getter]
    fn detach<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        tuple(py, self.plan.detach.iter().map(|slot| slot.0))
    }

    #[getter]
    fn attach(&self, py: Python<'_>) -> PyResult<Py<PyTuple>> {
        let make = || Ok(tuple(py, self.plan.attach.iter().cloned().map(Attach))?.unbind());
        self.attach.get_or_try_init(py, make).map(|attach| attach.clone_ref(py))
    }

    #[getter]
    fn copies<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        tuple(py, self.plan.copies.iter().map(|(from, to)| (from.0, to.0)))
    }

    #[getter]
    fn rows(&self, py: Python<'_>) -> PyResult<Py<PyTuple>> {
        let make = || Ok(tuple(py, self.plan.rows.iter().cloned().map(Row))?.unbind());
        self.rows.get_or_try_init(py, make).map(|rows| rows.clone_ref(py))
    }

    #[getter]
    fn token_ids(&self, py: Python<'_>) -> PyResult<Py<PyTuple>> {
        let make = || Ok(tuple(py, &self.plan.token_ids)?.unbind());
        self.token_ids.get_or_try_init(py, make).map(|ids| ids.clone_ref(py))
    }

    #[getter]
    fn groups<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        tuple(py, self.plan.groups.iter().map(|group| (group.first_row, group.rows, group.pages)))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.plan == other.get().plan)
    }

    fn __repr__(&self) -> String {
        let plan = &self.plan;
        Repr::new("StepPlan")
            .field("step", plan.step)
            .tuple("detach", plan.detach.iter().map(|slot| slot.0.to_string()))
            .tuple("attach", plan.attach.iter().map(|attach| Attach(attach.clone()).__repr__()))
            .tuple("copies", plan.copies.iter().map(|(from, to)| format!("({from}, {to})")))
            .tuple("rows", plan.rows.iter().map(|row| Row(row.clone()).__repr__()))
            .tuple("token_ids", plan.token_ids.iter().map(u32::to_string))
            .tuple(
                "groups",
                plan.groups.iter().map(|group| format!("({}, {}, {})", group.first_row, group.rows, group.pages)),
            )
            .end()
    }
}
