//! Owns: the Prometheus recorder of the process. Does not own: what is counted; that stands where it happens.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;

/// The recorder of this process, installed at the first call.
pub fn recorder() -> Option<&'static PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    RECORDER
        .get_or_init(|| match PrometheusBuilder::new().install_recorder() {
            Ok(handle) => Some(handle),
            Err(error) => {
                tracing::error!(%error, "metrics are off: another recorder is installed");
                None
            }
        })
        .as_ref()
}
