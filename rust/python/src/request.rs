//! What callers hand in and get back, as Python sees it.

use lightllm_router as core;
use lightllm_router::{Finish, RequestId};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::arguments::{Given, boolean_or, instance, integer, integer_or, integers, string, tuple};
use crate::errors::invalid_argument;
use crate::images;
use crate::text::Repr;

/// A request for tokens.
#[pyclass(module = "lightllm_rs._core", frozen, eq)]
#[derive(Clone, PartialEq)]
pub struct Request(pub core::Request);

#[pymethods]
impl Request {
    #[new]
    #[pyo3(
        signature = (id, prompt, max_tokens, *, end_ids=None, min_tokens=None, cache_salt=None, wants_history=None,
            prompt_logprobs=None, priority=None, deadline=None, tenant=None, class_label=None, siblings=None,
            images=None, expected_tokens=None),
        text_signature = "(id, prompt, max_tokens, *, end_ids=(), min_tokens=0, cache_salt=0, wants_history=False, \
            prompt_logprobs=False, priority=0, deadline=None, tenant=0, class_label=0, siblings=(), \
            images=(), expected_tokens=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments, one a property")]
    fn new(
        py: Python<'_>,
        id: &Bound<'_, PyAny>,
        prompt: &Bound<'_, PyAny>,
        max_tokens: &Bound<'_, PyAny>,
        end_ids: Given<'_, '_>,
        min_tokens: Given<'_, '_>,
        cache_salt: Given<'_, '_>,
        wants_history: Given<'_, '_>,
        prompt_logprobs: Given<'_, '_>,
        priority: Given<'_, '_>,
        deadline: Given<'_, '_>,
        tenant: Given<'_, '_>,
        class_label: Given<'_, '_>,
        siblings: Given<'_, '_>,
        images: Given<'_, '_>,
        expected_tokens: Given<'_, '_>,
    ) -> PyResult<Self> {
        let priority = integer_or(priority, "priority", 0)?;
        let priorities = core::Request::PRIORITIES;
        if !priorities.contains(&priority) {
            let requirement = format!("must be an integer from {} to {}", priorities.start(), priorities.end());
            return Err(invalid_argument(py, "priority", &requirement));
        }
        Ok(Self(core::Request {
            id: RequestId(integer(id, "id")?),
            prompt: integers(prompt, "prompt")?,
            max_tokens: integer(max_tokens, "max_tokens")?,
            end_ids: end_ids.map_or_else(|| Ok(Vec::new()), |ids| integers(ids, "end_ids"))?,
            min_tokens: integer_or(min_tokens, "min_tokens", 0)?,
            cache_salt: integer_or(cache_salt, "cache_salt", 0)?,
            wants_history: boolean_or(wants_history, "wants_history", false)?,
            prompt_logprobs: boolean_or(prompt_logprobs, "prompt_logprobs", false)?,
            priority,
            deadline: deadline.map(|deadline| integer(deadline, "deadline")).transpose()?,
            tenant: integer_or(tenant, "tenant", 0)?,
            class: integer_or(class_label, "class_label", 0)?,
            siblings: match siblings {
                Some(ids) => integers(ids, "siblings")?.into_iter().map(RequestId).collect(),
                None => Vec::new(),
            },
            images: images::images(images)?,
            expected_tokens: expected_tokens.map(|tokens| integer(tokens, "expected_tokens")).transpose()?,
        }))
    }

    #[getter]
    fn id(&self) -> u64 {
        self.0.id.0
    }

    #[getter]
    fn prompt<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        tuple(py, &self.0.prompt)
    }

    #[getter]
    fn max_tokens(&self) -> u32 {
        self.0.max_tokens
    }

    #[getter]
    fn end_ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        tuple(py, &self.0.end_ids)
    }

    #[getter]
    fn min_tokens(&self) -> u32 {
        self.0.min_tokens
    }

    #[getter]
    fn cache_salt(&self) -> u128 {
        self.0.cache_salt
    }

    #[getter]
    fn wants_history(&self) -> bool {
        self.0.wants_history
    }

    #[getter]
    fn prompt_logprobs(&self) -> bool {
        self.0.prompt_logprobs
    }

    #[getter]
    fn priority(&self) -> i32 {
        self.0.priority
    }

    #[getter]
    fn deadline(&self) -> Option<u64> {
        self.0.deadline
    }

    #[getter]
    fn tenant(&self) -> u64 {
        self.0.tenant
    }

    #[getter]
    fn class_label(&self) -> u64 {
        self.0.class
    }

    #[getter]
    fn siblings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        tuple(py, self.0.siblings.iter().map(|sibling| sibling.0))
    }

    #[getter]
    fn images<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        tuple(py, self.0.images.iter().map(images::triple))
    }

    #[getter]
    fn expected_tokens(&self) -> Option<u32> {
        self.0.expected_tokens
    }

    fn __repr__(&self) -> String {
        let request = &self.0;
        Repr::new("Request")
            .field("id", request.id.0)
            .tuple("prompt", request.prompt.iter().map(u32::to_string))
            .field("max_tokens", request.max_tokens)
            .tuple("end_ids", request.end_ids.iter().map(u32::to_string))
            .field("min_tokens", request.min_tokens)
            .field("cache_salt", request.cache_salt)
            .boolean("wants_history", request.wants_history)
            .boolean("prompt_logprobs", request.prompt_logprobs)
            .field("priority", request.priority)
            .optional("deadline", request.deadline)
            .field("tenant", request.tenant)
            .field("class_label", request.class)
            .tuple("siblings", request.siblings.iter().map(|sibling| sibling.0.to_string()))
            .tuple("images", request.images.iter().map(images::written))
            .optional("expected_tokens", request.expected_tokens)
            .end()
    }
}

/// How a request came to run.
#[pyclass(module = "lightllm_rs._core", frozen, eq)]
#[derive(Clone, PartialEq)]
pub struct Admission(pub core::Admission);

#[pymethods]
impl Admission {
    #[new]
    #[pyo3(
        signature = (*, cached_tokens, queue_ns, image_wait_ns=None),
        text_signature = "(*, cached_tokens, queue_ns, image_wait_ns=0)"
    )]
    fn new(
        cached_tokens: &Bound<'_, PyAny>,
        queue_ns: &Bound<'_, PyAny>,
        image_wait_ns: Given<'_, '_>,
    ) -> PyResult<Self> {
        Ok(Self(core::Admission {
            cached_tokens: integer(cached_tokens, "cached_tokens")?,
            queue_ns: integer(queue_ns, "queue_ns")?,
            image_wait_ns: integer_or(image_wait_ns, "image_wait_ns", 0)?,
        }))
    }

    #[getter]
    fn cached_tokens(&self) -> u32 {
        self.0.cached_tokens
    }

    #[getter]
    fn queue_ns(&self) -> u64 {
        self.0.queue_ns
    }

    #[getter]
    fn image_wait_ns(&self) -> u64 {
        self.0.image_wait_ns
    }

    fn __repr__(&self) -> String {
        let admission = &self.0;
        Repr::new("Admission")
            .field("cached_tokens", admission.cached_tokens)
            .field("queue_ns", admission.queue_ns)
            .field("image_wait_ns", admission.image_wait_ns)
            .end()
    }
}

/// News of one request.
#[pyclass(module = "lightllm_rs._core", frozen, eq)]
#[derive(Clone, PartialEq)]
pub struct Output(pub core::Output);

#[pymethods]
impl Output {
    #[new]
    #[pyo3(
        signature = (*, request, tokens=None, finish=None, failure=None, admission=None),
        text_signature = "(*, request, tokens=(), finish=None, failure=None, admission=None)"
    )]
    fn new(
        py: Python<'_>,
        request: &Bound<'_, PyAny>,
        tokens: Given<'_, '_>,
        finish: Given<'_, '_>,
        failure: Given<'_, '_>,
        admission: Given<'_, '_>,
    ) -> PyResult<Self> {
        let failure = failure.map(|failure| string(failure, "failure")).transpose()?;
        let finish = finish.map(|finish| string(finish, "finish")).transpose()?;
        let finish = match (finish.as_deref(), failure) {
            (None, None) => None,
            (Some("stop"), None) => Some(Finish::Stop),
            (Some("length"), None) => Some(Finish::Length),
            (Some("failed"), Some(reason)) => Some(Finish::Failed(reason)),
            _ => {
                let requirement = "must be None, 'stop' or 'length', or 'failed' together with failure";
                return Err(invalid_argument(py, "finish", requirement));
            }
        };
        Ok(Self(core::Output {
            request: RequestId(integer(request, "request")?),
            tokens: tokens.map_or_else(|| Ok(Vec::new()), |tokens| integers(tokens, "tokens"))?.into(),
            finish,
            admission: match admission {
                Some(admission) => Some(instance::<Admission>(admission, "admission")?.get().0),
                None => None,
            },
        }))
    }

    #[getter]
    fn request(&self) -> u64 {
        self.0.request.0
    }

    #[getter]
    fn tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        tuple(py, &self.0.tokens)
    }

    #[getter]
    fn finish(&self) -> Option<&'static str> {
        self.0.finish.as_ref().map(|finish| match finish {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::Failed(_) => "failed",
        })
    }

    #[getter]
    fn failure(&self) -> Option<&str> {
        match &self.0.finish {
            Some(Finish::Failed(reason)) => Some(reason),
            _ => None,
        }
    }

    #[getter]
    fn admission(&self) -> Option<Admission> {
        self.0.admission.map(Admission)
    }

    fn __repr__(&self) -> String {
        let admission = self.admission().map_or_else(|| "None".to_owned(), |admission| admission.__repr__());
        Repr::new("Output")
            .field("request", self.0.request.0)
            .tuple("tokens", self.0.tokens.iter().map(u32::to_string))
            .optional("finish", self.finish())
            .optional("failure", self.failure())
            .verbatim("admission", &admission)
            .end()
    }
}
