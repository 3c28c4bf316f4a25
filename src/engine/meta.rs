// SPDX-License-Identifier: GPL-2.0

//! The metadata on disk: where they lie and what their bytes mean (metadata.md).
