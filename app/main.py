"""The app's entry: page configuration and navigation, nothing else."""

from pathlib import Path

import streamlit as st
from pages import navigation

ICON = Path(__file__).with_name("icon.png")  # an icon by name would be fetched from another host

st.set_page_config(page_title="RecBLR Lens", page_icon=str(ICON), layout="wide")
navigation().run()
