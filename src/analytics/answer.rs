//! A report as it goes out.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderMap, HeaderValue, VARY,
    X_CONTENT_TYPE_OPTIONS,
};

use super::csv;
use super::question::{Format, Question};
use super::report::Report;
use crate::json::Private;

/// How it is told: as the question says, or else what is accepted.
#[must_use]
pub fn format(question: &Question, headers: &HeaderMap) -> Format {
    let accepts_csv = |value: &HeaderValue| {
        let ranges = value.as_bytes().split(|byte| *byte == b',');
        let kinds =
            ranges.map(|range| range.split(|byte| *byte == b';').next().unwrap_or_default());
        kinds.map(<[u8]>::trim_ascii).any(|kind| kind.eq_ignore_ascii_case(b"text/csv"))
    };
    let by_header = || match headers.get_all(ACCEPT).iter().any(accepts_csv) {
        true => Format::Csv,
        false => Format::Json,
    };
    question.format.unwrap_or_else(by_header)
}

/// The answer; CSV is for a file.
#[must_use]
pub fn answer(report: &Report, format: Format) -> Response {
    let mut response = match format {
        Format::Json => Private(StatusCode::OK, report).into_response(),
        Format::Csv => csv::write(report).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept"));
    if format == Format::Csv {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(csv::CONTENT_TYPE));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let file = format!("attachment; filename=\"analytics-by-{}.csv\"", report.by.as_str());
        if let Ok(file) = HeaderValue::from_str(&file) {
            headers.insert(CONTENT_DISPOSITION, file);
        }
    }
    response
}
