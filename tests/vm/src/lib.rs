// SPDX-License-Identifier: GPL-2.0

//! The rdb testbed: nodes that can be booted, cut off, frozen and killed.
